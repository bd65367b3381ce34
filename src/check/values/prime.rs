//! Primes, for the size of a Maglev table.

/// Whether a number is a prime.
pub(crate) fn is_prime(number: u32) -> bool {
    let divides = |divisor: &u32| number.is_multiple_of(*divisor);
    let root = number.isqrt();
    number >= 2
        && (number == 2 || !number.is_multiple_of(2))
        && !(3..=root).step_by(2).any(|d| divides(&d))
}

/// The nearest primes below and above a number, inside a range.
pub(crate) fn primes_around(number: u32, least: u32, most: u32) -> (Option<u32>, Option<u32>) {
    let below = (least..number).rev().find(|n| is_prime(*n));
    let above = (number.max(least)..=most).find(|n| is_prime(*n));
    (below, above)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_primes() {
        let primes: Vec<_> = (0..50).filter(|n| is_prime(*n)).collect();
        assert_eq!(
            primes,
            [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47]
        );
        for table in [
            251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65537, 131_071,
        ] {
            assert!(is_prime(table));
        }
        assert!(!is_prime(65_536) && !is_prime(65_537 * 3));
    }

    #[test]
    fn finds_neighbours() {
        assert_eq!(primes_around(250, 1, 1000), (Some(241), Some(251)));
        assert_eq!(primes_around(250, 300, 1000), (None, Some(307)));
        assert_eq!(primes_around(1, 1, 1000), (None, Some(2)));
    }
}

//! Ranges of numbers for the servers of services whose clients are remembered.
//!
//! Such a block has a range to itself. The first number of the range stands for the service, no server has it, and
//! the number of each server leads to it by a mask. So a rule that sees the number of a server alone, in the mark of
//! a connection, knows the service to remember the client for.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::layout::Layout;

/// The numbers of these services and their servers: above all others but [`super::number::REFUSED`].
pub const REGIONS: RangeInclusive<u32> = 0x8000_0000..=0xffef_ffff;

/// Where the ranges for large services begin.
const LARGE: u32 = 0xc000_0000;

/// How large a range is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Extent {
    /// 4096 numbers, however far apart: for a service of up to 4095 servers.
    Usual,
    /// 1,048,576 numbers.
    Large,
}

impl Extent {
    /// What a range must be to hold so many servers.
    pub(super) fn of(servers: usize) -> Self {
        if servers < 1 << 12 {
            Self::Usual
        } else {
            Self::Large
        }
    }

    const fn bits(self) -> u32 {
        match self {
            Self::Usual => 12,
            Self::Large => 20,
        }
    }

    /// The first number of the first range, and how many numbers there are in all ranges together.
    const fn ranges(self) -> (u32, u32) {
        let (first, last) = match self {
            Self::Usual => (*REGIONS.start(), LARGE - 1),
            Self::Large => (LARGE, *REGIONS.end()),
        };
        (first, last - first + 1)
    }

    /// How many ranges there are.
    pub(super) const fn count(self, layout: Layout) -> u32 {
        layout.count(self.ranges().1) >> self.bits()
    }

    /// How many servers have room in a range.
    pub(super) const fn room(self) -> u32 {
        (1 << self.bits()) - 1
    }

    /// The bits of a server's number that are those of its service.
    pub const fn mask(self, layout: Layout) -> u32 {
        layout.spread(u32::MAX << self.bits())
    }
}

/// One range, by its first number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Region(u32);

impl Region {
    /// The range that a number is in; `None` for the number of an ordinary server, or of a slot.
    pub fn containing(number: u32, layout: Layout) -> Option<Self> {
        if !REGIONS.contains(&number) {
            return None;
        }
        let extent = if number >= LARGE {
            Extent::Large
        } else {
            Extent::Usual
        };
        Some(Self(number & extent.mask(layout)))
    }

    /// The number of the service.
    pub const fn service(self) -> u32 {
        self.0
    }

    /// How many numbers the range has.
    pub const fn extent(self) -> Extent {
        if self.0 >= LARGE {
            Extent::Large
        } else {
            Extent::Usual
        }
    }

    /// The range of this place among those of its size.
    pub(super) const fn nth(extent: Extent, place: u32, layout: Layout) -> Self {
        Self(extent.ranges().0 + layout.spread(place << extent.bits()))
    }

    /// The number of the server that drew `place`, which is below [`Extent::room`].
    pub(super) const fn server(self, place: u32, layout: Layout) -> u32 {
        self.0 + layout.spread(1 + place)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::number::refused;
    use super::*;

    #[test]
    fn ranges_are_where_they_should_be_at_every_shift() {
        let mut counts = Vec::new();
        for shift in 0..=Layout::MOST {
            let layout = Layout::new(shift).unwrap();
            counts.push([Extent::Usual, Extent::Large].map(|extent| extent.count(layout)));
            for extent in [Extent::Usual, Extent::Large] {
                let ends = [0, extent.count(layout) - 1];
                for place in ends {
                    let region = Region::nth(extent, place, layout);
                    assert_eq!(region.extent(), extent);
                    assert!(layout.has(region.service()));
                    for server in [0, extent.room() - 1].map(|at| region.server(at, layout)) {
                        assert!(layout.has(server));
                        assert!(server > region.service());
                        assert_eq!(Region::containing(server, layout), Some(region));
                        assert!(!REGIONS.contains(&refused(layout)));
                    }
                    let before = region.service() - 1;
                    assert_ne!(Region::containing(before, layout), Some(region));
                }
            }
        }
        // As flb.5 has them.
        let told = [
            [262_144, 1023],
            [131_072, 511],
            [65_536, 255],
            [32_768, 127],
            [16_384, 63],
            [8192, 31],
            [4096, 15],
            [2048, 7],
            [1024, 3],
        ];
        assert_eq!(counts, told);
    }
}

//! A small plot, both axes logarithmic: cost over size.

use std::fmt::Write;

/// One contender's points.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A plot with a legend.
pub(crate) struct Plot {
    pub(crate) title: &'static str,
    pub(crate) across: &'static str,
    pub(crate) lines: Vec<Line>,
}

/// Colours that differ for the colour-blind too.
const COLOURS: [&str; 6] = [
    "#0072b2", "#56b4e9", "#d55e00", "#e69f00", "#009e73", "#cc79a7",
];

const LEFT: f64 = 60.0;
const TOP: f64 = 40.0;
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 260.0;

impl Plot {
    /// The plot as SVG.
    pub(crate) fn svg(&self) -> String {
        // What is nothing has no place on such an axis.
        let positive = |point: &&(f64, f64)| point.0 > 0.0 && point.1 > 0.0;
        let all = || {
            let points = self.lines.iter().flat_map(|line| &line.points);
            points.filter(positive)
        };
        let decades = |figures: &mut dyn Iterator<Item = f64>| {
            let (low, high) = figures.fold((f64::MAX, f64::MIN), |(low, high), figure| {
                (low.min(figure.log10()), high.max(figure.log10()))
            });
            (low.floor(), high.ceil().max(low.floor() + 1.0))
        };
        let (left, right) = decades(&mut all().map(|point| point.0));
        let (low, high) = decades(&mut all().map(|point| point.1));
        let x = |size: f64| LEFT + (size.log10() - left) / (right - left) * WIDTH;
        let y = |cost: f64| TOP + HEIGHT - (cost.log10() - low) / (high - low) * HEIGHT;
        let mut svg = String::new();
        let _ = writeln!(
            svg,
            r##"<svg xmlns="http://www.w3.org/2000/svg" width="700" height="360" font-family="sans-serif" font-size="12">
<rect width="700" height="360" fill="#fff"/>
<text x="{LEFT}" y="22" font-size="14">{}</text>
<text x="{}" y="{}" text-anchor="middle">{}</text>"##,
            self.title,
            LEFT + WIDTH / 2.0,
            TOP + HEIGHT + 40.0,
            self.across
        );
        let mut decade = low;
        while decade <= high {
            let cost = 10f64.powf(decade);
            let _ = writeln!(
                svg,
                r##"<path d="M{LEFT} {0:.1}h{WIDTH}" stroke="#ddd"/><text x="{1}" y="{2:.1}" text-anchor="end">{cost}</text>"##,
                y(cost),
                LEFT - 6.0,
                y(cost) + 4.0
            );
            decade += 1.0;
        }
        let mut decade = left;
        while decade <= right {
            let size = 10f64.powf(decade);
            let _ = writeln!(
                svg,
                r##"<path d="M{0:.1} {TOP}v{HEIGHT}" stroke="#ddd"/><text x="{0:.1}" y="{1}" text-anchor="middle">{size}</text>"##,
                x(size),
                TOP + HEIGHT + 18.0
            );
            decade += 1.0;
        }
        let mut legend = TOP + 10.0;
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            let shown = || line.points.iter().filter(positive);
            let points: Vec<String> = shown()
                .map(|(size, cost)| format!("{:.1},{:.1}", x(*size), y(*cost)))
                .collect();
            let _ = writeln!(
                svg,
                r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/>"#,
                points.join(" ")
            );
            for (size, cost) in shown() {
                let _ = writeln!(
                    svg,
                    r#"<circle cx="{:.1}" cy="{:.1}" r="3" fill="{colour}"/>"#,
                    x(*size),
                    y(*cost)
                );
            }
            let _ = writeln!(
                svg,
                r#"<rect x="{}" y="{}" width="14" height="4" fill="{colour}"/><text x="{}" y="{}">{}</text>"#,
                LEFT + WIDTH + 12.0,
                legend - 5.0,
                LEFT + WIDTH + 32.0,
                legend,
                line.name
            );
            legend += 20.0;
        }
        svg.push_str("</svg>\n");
        svg
    }
}

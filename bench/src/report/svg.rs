//! Charts as SVG: a line drawing with named lines, readable on light and dark pages.

use std::fmt::Write as _;

use super::chart::{Axis, Chart, Line};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 76.0;
const BOTTOM: f64 = 56.0;
/// Colors that color-blind readers can distinguish (Okabe and Ito).
const COLORS: [&str; 5] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"];
/// Approximate width of a letter in the legend.
const LETTER: f64 = 7.2;

/// An axis scaled to the size of the drawing.
struct Fitted<'a> {
    axis: &'a Axis,
    ticks: Vec<f64>,
    from: f64,
    to: f64,
}

/// Draws the chart as an SVG document.
pub(super) fn draw(chart: &Chart, subtitle: &str) -> String {
    let values = |pick: fn(&(f64, f64)) -> f64| {
        let all = chart
            .lines
            .iter()
            .flat_map(|line| line.points.iter().map(pick))
            .filter(|value| value.is_finite());
        all.fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), value| {
            (min.min(value), max.max(value))
        })
    };
    let x = Fitted::new(&chart.x, values(|point| point.0), LEFT, WIDTH - RIGHT);
    let y = Fitted::new(&chart.y, values(|point| point.1), HEIGHT - BOTTOM, TOP);
    let mut out = String::with_capacity(8 * 1024);
    head(&mut out, &chart.title, subtitle);
    grid(&mut out, &x, &y);
    legend(&mut out, &chart.lines);
    for (index, line) in chart.lines.iter().enumerate() {
        curve(&mut out, line, COLORS[index % COLORS.len()], &x, &y);
    }
    out.push_str("</svg>\n");
    out
}

impl<'a> Fitted<'a> {
    fn new(axis: &'a Axis, (min, max): (f64, f64), from: f64, to: f64) -> Self {
        let (min, max) = if min.is_finite() {
            (min, max)
        } else {
            (0.0, 1.0)
        };
        Self {
            axis,
            ticks: axis.scale.ticks(min, max),
            from,
            to,
        }
    }

    /// Position of a value in the drawing.
    fn position(&self, value: f64) -> f64 {
        let place = |value| self.axis.scale.place(value);
        let (first, last) = (
            place(self.ticks[0]),
            place(self.ticks[self.ticks.len() - 1]),
        );
        let share = ((place(value) - first) / (last - first)).clamp(0.0, 1.0);
        self.from + share * (self.to - self.from)
    }
}

fn head(out: &mut String, title: &str, subtitle: &str) {
    push(
        out,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"system-ui, sans-serif\" font-size=\"13\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
             <text x=\"{LEFT}\" y=\"24\" font-size=\"16\" font-weight=\"600\" fill=\"#1f2328\">{}</text>\n\
             <text x=\"{LEFT}\" y=\"43\" font-size=\"12\" fill=\"#59636e\">{}</text>\n",
            escaped(title),
            escaped(subtitle)
        ),
    );
}

fn grid(out: &mut String, x: &Fitted<'_>, y: &Fitted<'_>) {
    let text = "fill=\"#59636e\"";
    for tick in &y.ticks {
        let (height, label) = (y.position(*tick), y.axis.scale.write(*tick));
        push(
            out,
            format_args!(
                "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{height:.1}\" y2=\"{height:.1}\" stroke=\"#d8dee4\"/>\n\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" {text}>{label}</text>\n",
                x.to,
                LEFT - 8.0,
                height + 4.5
            ),
        );
    }
    for tick in &x.ticks {
        let (left, label) = (x.position(*tick), x.axis.scale.write(*tick));
        push(
            out,
            format_args!(
                "<line x1=\"{left:.1}\" x2=\"{left:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"#8c959f\"/>\n\
                 <text x=\"{left:.1}\" y=\"{:.1}\" text-anchor=\"middle\" {text}>{label}</text>\n",
                y.from,
                y.from + 5.0,
                y.from + 20.0
            ),
        );
    }
    let (middle_x, middle_y) = (f64::midpoint(x.from, x.to), f64::midpoint(y.from, y.to));
    push(
        out,
        format_args!(
            "<text x=\"{middle_x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" {text}>{}</text>\n\
             <text transform=\"translate(18 {middle_y:.1}) rotate(-90)\" text-anchor=\"middle\" {text}>{}</text>\n",
            HEIGHT - 12.0,
            escaped(x.axis.label),
            escaped(y.axis.label)
        ),
    );
}

fn legend(out: &mut String, lines: &[Line]) {
    let mut left = LEFT;
    for (line, color) in lines.iter().zip(COLORS.iter().cycle()) {
        push(
            out,
            format_args!(
                "<line x1=\"{left:.1}\" x2=\"{:.1}\" y1=\"59\" y2=\"59\" stroke=\"{color}\" stroke-width=\"3\"/>\n\
                 <text x=\"{:.1}\" y=\"63\" fill=\"#1f2328\">{}</text>\n",
                left + 18.0,
                left + 24.0,
                escaped(&line.name)
            ),
        );
        left += 24.0 + LETTER * line.name.chars().count() as f64 + 18.0;
    }
}

fn curve(out: &mut String, line: &Line, color: &str, x: &Fitted<'_>, y: &Fitted<'_>) {
    let point = |(h, v): &(f64, f64)| format!("{:.1},{:.1}", x.position(*h), y.position(*v));
    let points: Vec<String> = line.points.iter().map(point).collect();
    push(
        out,
        format_args!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2.5\" \
             stroke-linejoin=\"round\" stroke-linecap=\"round\"/>\n",
            points.join(" ")
        ),
    );
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(text);
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::chart::Scale;
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> Chart {
        Chart {
            name: "test",
            title: "a < b".to_owned(),
            x: Axis::new("clients", Scale::Doubling),
            y: Axis::new("requests per second", Scale::Linear),
            lines: vec![Line {
                name: "ours".to_owned(),
                points,
            }],
        }
    }

    #[test]
    fn points_lie_within_the_axes() {
        let text = draw(&chart(vec![(1.0, 0.0), (256.0, 20.0)]), "");
        assert!(text.contains("points=\"70.0,344.0 696.0,76.0\""), "{text}");
        assert!(text.contains("a &lt; b"));
    }

    #[test]
    fn a_chart_without_points_is_still_a_drawing() {
        assert!(draw(&chart(vec![]), "").ends_with("</svg>\n"));
    }
}

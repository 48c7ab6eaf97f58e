//! A curve as inline SVG.

use std::fmt::Write;

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 180.0;
const LEFT: f64 = 44.0;
const BOTTOM: f64 = 22.0;
const TOP: f64 = 8.0;
/// Points of a curve at most: more are averaged, so that a long run stays a small page.
const POINTS: usize = 400;

/// `values` over their numbers, from 1; the thin line is the values, the thick one their running mean.
pub fn chart(title: &str, values: &[f64]) -> String {
    let raw = thin(values);
    let smooth = thin(&running_mean(values));
    let finite = || raw.iter().copied().filter(|value| value.is_finite());
    let low = finite().fold(f64::INFINITY, f64::min);
    let high = finite().fold(f64::NEG_INFINITY, f64::max);
    if low > high {
        return String::new();
    }
    let span = if high > low { high - low } else { 1.0 };
    let y = |value: f64| TOP + (high - value) / span * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\
         <line class=\"axis\" x1=\"{LEFT}\" y1=\"{0}\" x2=\"{WIDTH}\" y2=\"{0}\"/>",
        HEIGHT - BOTTOM
    );
    for (class, line) in [("raw", &raw), ("smooth", &smooth)] {
        let step = (WIDTH - LEFT - 4.0) / line.len().saturating_sub(1).max(1) as f64;
        let _ = write!(svg, "<polyline class=\"{class}\" points=\"");
        for (place, value) in line
            .iter()
            .enumerate()
            .filter(|(_, value)| value.is_finite())
        {
            let _ = write!(svg, "{:.1},{:.1} ", LEFT + step * place as f64, y(*value));
        }
        svg.push_str("\"/>");
    }
    for value in [high, low] {
        let at = y(value) + 4.0;
        let _ = write!(svg, "<text x=\"0\" y=\"{at:.1}\">{}</text>", short(value));
    }
    let end = format!("{} updates", values.len());
    let _ = write!(
        svg,
        "<text x=\"{WIDTH}\" y=\"{}\" text-anchor=\"end\">{end}</text></svg>",
        HEIGHT - 6.0
    );
    svg
}

/// Means over equal pieces, at most [`POINTS`] of them.
fn thin(values: &[f64]) -> Vec<f64> {
    let piece = values.len().div_ceil(POINTS).max(1);
    let mean = |piece: &[f64]| piece.iter().sum::<f64>() / piece.len() as f64;
    values.chunks(piece).map(mean).collect()
}

/// An exponential mean over about a twentieth of the curve, corrected for its start.
fn running_mean(values: &[f64]) -> Vec<f64> {
    let keep = 1.0 - 1.0 / (values.len() as f64 / 20.0).max(1.0);
    let (mut sum, mut weight) = (0.0, 0.0);
    let follow = |value: &f64| {
        if value.is_finite() {
            sum = keep * sum + (1.0 - keep) * value;
            weight = keep * weight + (1.0 - keep);
        }
        sum / weight
    };
    values.iter().map(follow).collect()
}

fn short(value: f64) -> String {
    match value.abs() {
        large if large >= 1000.0 => format!("{value:.0}"),
        large if large >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

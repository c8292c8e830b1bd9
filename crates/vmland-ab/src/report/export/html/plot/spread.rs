// SPDX-License-Identifier: GPL-2.0-only
//! All windows of a metric, an arm beside the other.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::canvas::{Area, Drawn, GRID, INK, MUTED, Plot, colour, draw, short, text};
use crate::report::format;
use crate::report::model::{Dot, MetricTable};

const WIDTH: u32 = 440;
const HEIGHT: u32 = 300;
/// Of the vertical axis' numbers.
const LEFT: u32 = 66;
/// Of the arms' names and medians.
const BOTTOM: u32 = 48;
const MARGIN: u32 = 10;

/// Half of the width of an arm's box, where arms are 1 apart.
const HALF: f64 = 0.36;

/// A dot for each window, hollow if it was discarded; a line at the median, a
/// box between the quartiles. None if no window that counts has a value.
pub fn spread(metric: &MetricTable) -> Option<Plot> {
    let (low, high) = axis(metric.extent()?);
    let rows = &metric.rows;
    let plot = draw(WIDTH, HEIGHT, |area| {
        let arms = rows.len() as f64;
        let mut chart = ChartBuilder::on(area)
            .margin_top(MARGIN)
            .margin_right(MARGIN)
            .set_label_area_size(LabelAreaPosition::Left, LEFT)
            .set_label_area_size(LabelAreaPosition::Bottom, BOTTOM)
            .build_cartesian_2d(-0.5..arms - 0.5, low..high)?;
        let ticks = 5;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .disable_x_axis()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(TRANSPARENT)
            .y_labels(ticks)
            .y_label_style(text(13.0, MUTED, HPos::Right))
            .y_label_formatter(&|value| format::tick(*value, (high - low) / ticks as f64))
            .draw()?;

        for (arm, row) in rows.iter().enumerate() {
            let x = arm as f64;
            let colour = colour(arm);
            if let Some(s) = row.summary {
                let corners = [(x - HALF, s.q1), (x + HALF, s.q3)];
                chart.draw_series([Rectangle::new(corners, colour.mix(0.18).filled())])?;
            }
            // A discarded window does not stretch the axis.
            let within = |dot: &&Dot| (low..=high).contains(&dot.value);
            for dot in row.dots.iter().filter(within) {
                let style = match dot.discarded {
                    false => colour.mix(0.8).filled(),
                    true => colour.stroke_width(1),
                };
                let at = (x + jitter(dot.index), dot.value);
                chart.draw_series([Circle::new(at, 4, style)])?;
            }
            if let Some(s) = row.summary {
                let line = [(x - HALF, s.median), (x + HALF, s.median)];
                chart.draw_series([PathElement::new(line, INK.stroke_width(2))])?;
            }
            let (x, y) = chart.backend_coord(&(x, low));
            let room = (WIDTH - LEFT - MARGIN) as usize / rows.len();
            label(area, short(&row.arm, room / 8), (x, y + 18), INK)?;
            label(area, row.median.clone(), (x, y + 37), MUTED)?;
        }
        Ok(())
    });
    Some(plot)
}

fn label(area: &Area, what: String, at: (i32, i32), colour: RGBColor) -> Drawn {
    area.draw(&Text::new(what, at, text(13.0, colour, HPos::Center)))
}

/// From 0 where the values are not all far from it, with some room otherwise.
fn axis((low, high): (f64, f64)) -> (f64, f64) {
    let room = match high - low {
        span if span > 0.0 => 0.08 * span,
        _ if high != 0.0 => 0.1 * high.abs(),
        _ => 1.0,
    };
    if (0.0..=high / 2.0).contains(&low) {
        (0.0, high + room)
    } else {
        (low - room, high + room)
    }
}

/// Where the `i`th dot stands beside the middle: multiples of the golden ratio
/// never cluster, and are the same for each report.
fn jitter(i: usize) -> f64 {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    let along = (i as f64 * GOLDEN + 0.5).fract();
    (along - 0.5) * 1.5 * HALF
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_begins_at_0_unless_all_values_are_far_from_it() {
        assert_eq!(axis((2.0, 10.0)).0, 0.0);
        assert!(axis((49.0, 51.0)).0 > 48.0);
        assert!(axis((-3.0, 5.0)).0 < -3.0);
        let (low, high) = axis((7.0, 7.0));
        assert!(low < 7.0 && high > 7.0);
        let (low, high) = axis((0.0, 0.0));
        assert!(low <= 0.0 && high > 0.0);
    }

    #[test]
    fn dots_stay_in_their_box_and_apart() {
        let mut places: Vec<f64> = (0..20).map(jitter).collect();
        places.sort_by(f64::total_cmp);
        assert!(places.iter().all(|x| x.abs() < HALF));
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] > 0.01));
    }
}

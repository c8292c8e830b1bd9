// SPDX-License-Identifier: GPL-2.0-only
//! Which arm was active when.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::canvas::{Area, Drawn, FAILURE, GRID, INK, MUTED, Plot, colour, draw, short, text};
use crate::record::{Record, Switch};
use crate::report::format;
use crate::report::model::Model;

const WIDTH: u32 = 900;
/// Of the arms' names.
const LEFT: i32 = 150;
const RIGHT: i32 = 24;
const TOP: i32 = 6;
/// Of each arm.
const LANE: i32 = 42;
/// Of the time's numbers.
const BOTTOM: i32 = 30;

/// Half of the heights of what lies on a lane, thickest first.
const WINDOW: i32 = 12;
const SWITCH: i32 = 7;
const ACTIVE: i32 = 2;

/// Steps between two numbers, in seconds.
const STEPS: [f64; 16] = [
    1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0,
    14_400.0, 43_200.0,
];

/// Numbers along the time, at most.
const TICKS: f64 = 9.0;

/// A lane for each arm: a box for each window, hollow if it was discarded; a
/// thin line where the arm was active and not measured; a block for the time
/// that a switch took, and a cross where one failed.
pub fn time_line(model: &Model) -> Plot {
    let record = model.record;
    let end_s = end_s(record);
    let lanes = record.arms.len() as i32;
    let height = TOP + lanes * LANE + BOTTOM;
    let x = |at_s: f64| {
        let room = f64::from(WIDTH as i32 - LEFT - RIGHT);
        LEFT + (at_s / end_s * room).round() as i32
    };
    let y = |arm: usize| TOP + LANE / 2 + LANE * arm as i32;
    let bar = |from_s: f64, to_s: f64, arm: usize, half: i32| {
        let right = x(to_s).max(x(from_s) + 2);
        [(x(from_s), y(arm) - half), (right, y(arm) + half)]
    };
    draw(WIDTH, height as u32, |area| {
        axis(area, end_s, height - BOTTOM, x)?;
        for (arm, named) in model.arms.iter().enumerate() {
            line(area, [(LEFT, y(arm)), (WIDTH as i32 - RIGHT, y(arm))], GRID)?;
            let name = short(&named.name, LEFT as usize / 8);
            let at = (LEFT - 12, y(arm));
            area.draw(&Text::new(name, at, text(13.0, INK, HPos::Right)))?;
        }
        for (switch, until_s) in active(record, end_s) {
            let corners = bar(switch.at_s + switch.took_s, until_s, switch.arm, ACTIVE);
            area.draw(&Rectangle::new(corners, colour(switch.arm).filled()))?;
        }
        for window in record.windows.iter().filter(|w| w.arm < record.arms.len()) {
            let style = match window.discarded {
                None => colour(window.arm).filled(),
                Some(_) => colour(window.arm).stroke_width(1),
            };
            let corners = bar(window.start_s, window.end_s, window.arm, WINDOW);
            area.draw(&Rectangle::new(corners, style))?;
        }
        for switch in record.switches.iter().filter(|s| s.arm < record.arms.len()) {
            let (from_s, to_s) = (switch.at_s, switch.at_s + switch.took_s);
            let corners = bar(from_s, to_s, switch.arm, SWITCH);
            if switch.failed.is_none() {
                area.draw(&Rectangle::new(corners, INK.filled()))?;
            } else {
                let (x, y, arm) = (x(from_s), y(switch.arm), SWITCH);
                for down in [-arm, arm] {
                    area.draw(&PathElement::new(
                        [(x - arm, y - down), (x + arm, y + down)],
                        FAILURE.stroke_width(3),
                    ))?;
                }
            }
        }
        Ok(())
    })
}

fn axis(area: &Area, end_s: f64, bottom: i32, x: impl Fn(f64) -> i32) -> Drawn {
    let step = STEPS
        .into_iter()
        .find(|step| end_s / step <= TICKS)
        .unwrap_or(end_s / TICKS);
    let mut at_s = 0.0;
    while at_s <= end_s {
        line(area, [(x(at_s), TOP), (x(at_s), bottom)], GRID)?;
        let style = text(13.0, MUTED, HPos::Center);
        area.draw(&Text::new(
            format::clock(at_s),
            (x(at_s), bottom + 16),
            style,
        ))?;
        at_s += step;
    }
    Ok(())
}

fn line(area: &Area, points: [(i32, i32); 2], colour: RGBColor) -> Drawn {
    area.draw(&PathElement::new(points, colour.stroke_width(1)))
}

/// End of the run, in seconds; at least 1.
fn end_s(record: &Record) -> f64 {
    let windows = record.windows.iter().map(|w| w.end_s);
    let switches = record.switches.iter().map(|s| s.at_s + s.took_s);
    windows
        .chain(switches)
        .filter(|end_s| end_s.is_finite())
        .fold(1.0, f64::max)
}

/// Each switch that worked, and when the next one was tried.
fn active(record: &Record, end_s: f64) -> impl Iterator<Item = (&Switch, f64)> {
    let ends = record.switches.iter().skip(1).map(|next| next.at_s);
    record
        .switches
        .iter()
        .zip(ends.chain([end_s]))
        .filter(|(switch, _)| switch.failed.is_none() && switch.arm < record.arms.len())
}

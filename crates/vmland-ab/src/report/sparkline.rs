// SPDX-License-Identifier: GPL-2.0-only
//! The spread of a few values, drawn in one line of text.
//!
//! A median hides that a scheduler does now this, now that: `·▄▂······▂▄·` has
//! the same one as `····▂▄▄▂····`. Each place is an equal part of an axis that
//! all arms of a metric share; the higher its block, the more windows fell there.

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Windows in one place that fill it, at least: a single one among few should
/// look like one.
const FULL: usize = 4;

/// Draws `values`, all within the axis `low..=high`, in `width` characters.
pub fn sparkline(
    values: impl IntoIterator<Item = f64>,
    (low, high): (f64, f64),
    width: usize,
) -> String {
    let mut places = vec![0_usize; width];
    for value in values {
        let along = if high > low {
            (value - low) / (high - low)
        } else {
            0.5
        };
        let place = (along * width as f64) as usize;
        if let Some(n) = places.get_mut(place.min(width.saturating_sub(1))) {
            *n += 1;
        }
    }
    let full = places.iter().copied().max().unwrap_or(0).max(FULL);
    places
        .iter()
        .map(|&n| match n {
            0 => '·',
            n => BLOCKS[(n * BLOCKS.len()).div_ceil(full) - 1],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_modes_look_like_two() {
        let values = [0.0, 0.5, 0.9, 9.5, 10.0];
        assert_eq!(sparkline(values, (0.0, 10.0), 10), "▆········▄");
    }

    #[test]
    fn the_axis_is_the_one_given() {
        assert_eq!(sparkline([5.0], (0.0, 10.0), 4), "··▂·");
        assert_eq!(sparkline([], (0.0, 10.0), 4), "····");
    }

    #[test]
    fn many_windows_fill_the_place_with_the_most() {
        let values: Vec<f64> = (0..100).map(|i| if i < 80 { 0.0 } else { 1.0 }).collect();
        assert_eq!(sparkline(values, (0.0, 1.0), 3), "█·▂");
    }

    #[test]
    fn equal_values_stand_in_the_middle() {
        assert_eq!(sparkline([7.0; 4], (7.0, 7.0), 5), "··█··");
    }

    #[test]
    fn no_room_is_no_sparkline() {
        assert_eq!(sparkline([1.0], (0.0, 2.0), 0), "");
    }
}

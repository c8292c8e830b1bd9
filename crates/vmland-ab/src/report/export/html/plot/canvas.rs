// SPDX-License-Identifier: GPL-2.0-only
//! What all drawings have in common: colours, text, a canvas.
//!
//! Colours are those of a light page. Each is written as an attribute, which the
//! page's style sheet (`page.css`) overrides by its value: that is how the
//! drawings follow a dark page. The arms' are Okabe and Ito's, which colour-blind
//! people can tell apart; the reference is grey.

use std::io;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub const INK: RGBColor = RGBColor(0x1A, 0x1D, 0x21);
pub const MUTED: RGBColor = RGBColor(0x5A, 0x62, 0x6B);
pub const GRID: RGBColor = RGBColor(0xDF, 0xE2, 0xE6);
pub const FAILURE: RGBColor = RGBColor(0xB4, 0x23, 0x18);

/// Of the arms, the reference first. `page.css` numbers them alike.
const ARMS: [RGBColor; 7] = [
    RGBColor(0x6E, 0x76, 0x81),
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0xE6, 0x9F, 0x00),
    RGBColor(0x56, 0xB4, 0xE9),
];

/// Which colour an arm has: the reference has its own, the others share the rest
/// in turn.
pub fn colour_of(arm: usize) -> usize {
    match arm {
        0 => 0,
        arm => 1 + (arm - 1) % (ARMS.len() - 1),
    }
}

pub fn colour(arm: usize) -> RGBColor {
    ARMS[colour_of(arm)]
}

/// What is inside an `<svg>`, and the size of its view box.
pub struct Plot {
    pub width: u32,
    pub height: u32,
    pub body: String,
}

pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub type Drawn = Result<(), DrawingAreaErrorKind<io::Error>>;

/// Draws on a new canvas.
pub fn draw(width: u32, height: u32, on: impl FnOnce(&Area) -> Drawn) -> Plot {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
    on(&area)
        .and_then(|()| area.present())
        .expect("a string takes all that is drawn");
    drop(area);
    // The page gives it an <svg> of its own, which scales and has a title.
    let body = svg
        .split_once('>')
        .and_then(|(_, rest)| rest.rsplit_once("</svg>"))
        .map_or(String::new(), |(body, _)| body.trim().to_owned());
    Plot {
        width,
        height,
        body,
    }
}

/// Text of a size in CSS pixels, as far as the drawing is not scaled.
pub fn text(px: f64, colour: RGBColor, anchor: HPos) -> TextStyle<'static> {
    // Plotters sets type of a given height this much smaller.
    const HEIGHT_PER_EM: f64 = 1.24;
    let style = TextStyle::from(("sans-serif", px * HEIGHT_PER_EM).into_font());
    TextStyle {
        color: colour.to_backend_color(),
        pos: Pos::new(anchor, VPos::Center),
        ..style
    }
}

/// Cuts the middle out of a text of more than `most` characters.
pub fn short(text: &str, most: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= most {
        return text.into();
    }
    let tail = most.saturating_sub(1) / 2;
    let head = most.saturating_sub(1) - tail;
    let (head, tail) = (&chars[..head], &chars[chars.len() - tail..]);
    head.iter().chain(['…'].iter()).chain(tail).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_recolours_all_that_is_drawn() {
        let css = include_str!("../page.css");
        for RGBColor(r, g, b) in ARMS.into_iter().chain([INK, MUTED, GRID, FAILURE]) {
            for attribute in ["fill", "stroke"] {
                let selector = format!("[{attribute}=\"#{r:02X}{g:02X}{b:02X}\"]");
                assert!(css.contains(&selector), "{selector}");
            }
        }
    }

    #[test]
    fn the_reference_shares_its_colour_with_none() {
        let colours: Vec<usize> = (0..8).map(colour_of).collect();
        assert_eq!(colours, [0, 1, 2, 3, 4, 5, 6, 1]);
    }

    #[test]
    fn long_names_keep_both_ends() {
        assert_eq!(short("scx_vmland", 10), "scx_vmland");
        assert_eq!(short("scx_vmland --slice 5", 9), "scx_…ce 5");
    }
}

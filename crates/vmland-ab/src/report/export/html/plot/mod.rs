// SPDX-License-Identifier: GPL-2.0-only
//! The page's drawings.

mod canvas;
mod spread;
mod time_line;

pub use self::canvas::{Plot, colour_of};
pub use self::spread::spread;
pub use self::time_line::time_line;

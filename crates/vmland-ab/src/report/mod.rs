// SPDX-License-Identifier: GPL-2.0-only
//! The reports of a comparison.
//!
//! [`Model`] is made once from a [`Record`](crate::record::Record): all rows, units, verdicts
//! and sentences. Each report is a rendering of it, in a file of its own:
//!
//! | report | for |
//! | --- | --- |
//! | [`terminal()`] | a terminal |
//! | [`export`] | files: JSON, CSV, Markdown, HTML |
//!
//! Numbers in what people read have three significant digits; JSON and CSV have all of them.
//! The texts of a record are shown as text: a name cannot control a terminal, mark up a page
//! or run in it.

pub mod export;

mod escape;
mod format;
mod model;
mod sparkline;
mod summary;
mod terminal;

pub use self::model::{Model, ratio_cells};
pub use self::terminal::terminal;

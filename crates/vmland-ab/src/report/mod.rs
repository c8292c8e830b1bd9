// SPDX-License-Identifier: GPL-2.0-only
//! A comparison, told to whoever asks: pure functions of its
//! [`Record`](super::record::Record).
//!
//! | function | for |
//! | --- | --- |
//! | [`table()`] | a terminal |
//! | [`markdown()`] | an issue or a pull request, where GitHub's tables are known |
//! | [`html()`] | a browser, a telephone, paper: one page that loads nothing |
//! | [`csv()`] | whoever computes on with the windows' values |
//!
//! The first three tell the same: what was compared, each metric with its
//! verdict, the VMs, and what happened on the way. Numbers have three
//! significant digits; only the CSV has them all. Whatever a record says, it is
//! shown as text: names cannot control a terminal, mark up a page or run in it.

mod csv;
mod html;
mod markdown;
mod plot;
mod rows;
mod safe;
mod strip;
mod summary;
mod table;
mod words;

pub use self::csv::csv;
pub use self::html::html;
pub use self::markdown::markdown;
pub use self::table::table;

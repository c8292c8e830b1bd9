// SPDX-License-Identifier: GPL-2.0-only
//! The reports of a comparison: as text, as CSV, as JSON, as XML, and in a browser.

mod browser;
mod page;
mod render;
mod sample;
mod text;

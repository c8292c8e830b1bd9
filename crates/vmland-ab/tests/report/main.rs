// SPDX-License-Identifier: GPL-2.0-only
//! The reports of a comparison, read as their readers do: as text, as CSV, as
//! XML, and in a browser.

mod browser;
mod page;
mod sample;
mod text;

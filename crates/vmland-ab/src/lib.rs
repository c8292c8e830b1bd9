// SPDX-License-Identifier: GPL-2.0-only
//! Comparing schedulers on one host, in turn and again and again.
//!
//! [`plan`] says which scheduler has which window, [`run`] carries that out on a
//! [`run::Host`], [`statistics`] says what the windows tell, and [`record`] is
//! all of that as data, from which every [`report`] is made. Nothing in here touches
//! a kernel: the host is a trait, and a test can play it.

pub mod comparison;
pub mod measure;
pub mod plan;
pub mod record;
pub mod report;
pub mod run;
pub mod statistics;

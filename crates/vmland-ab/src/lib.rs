// SPDX-License-Identifier: GPL-2.0-only
//! Compares schedulers on one host: many short windows each, in turn.
//!
//! [`plan`] orders the windows, [`run`] carries the plan out on a [`run::Host`],
//! [`measure`] makes values of counters, [`statistics`] makes [`comparison`]s of the
//! values. All of that is data, a [`record`], from which every [`report`] is made, and
//! which a [`gate`] judges. The crate touches no kernel: the host is a trait, which a
//! test implements too.

pub mod comparison;
pub mod gate;
pub mod measure;
pub mod plan;
pub mod record;
pub mod report;
pub mod run;
pub mod statistics;

// SPDX-License-Identifier: GPL-2.0-only
//! Whether a host can run the scheduler, and what would help. All of it is read from `/proc` and
//! `/sys`, below a root that tests choose.
//!
//! | module | content |
//! | --- | --- |
//! | [`capability`] | bit numbers of capabilities |
//! | [`core_sched`] | whether core scheduling is used, and can dead-lock |
//! | [`doctor`] | every line of `vmland doctor` |
//! | [`preflight`] | whether a scheduler can attach to this host, and what to do if not |

pub mod capability;
pub mod core_sched;
pub mod doctor;
pub mod preflight;

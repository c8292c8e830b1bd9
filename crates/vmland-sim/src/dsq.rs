// SPDX-License-Identifier: GPL-2.0-only
//! Dispatch queues, as ordered trees: by virtual time, then first come.
//!
//! A FIFO is one in which all virtual times are alike. Virtual times wrap around; a
//! simulation never lasts for half their range, so that their order is that of
//! signed numbers.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

/// A place in a queue.
pub type Place = (i64, i64);

#[derive(Default)]
pub struct Dsq {
    tasks: BTreeMap<Place, usize>,
    arrivals: i64,
}

impl Dsq {
    /// Returns the place that `task` takes.
    pub fn insert(&mut self, task: usize, vtime: u64, head: bool) -> Place {
        self.arrivals += 1;
        let place = if head {
            (i64::MIN, -self.arrivals)
        } else {
            (vtime as i64, self.arrivals)
        };
        self.tasks.insert(place, task);
        place
    }

    pub fn remove(&mut self, place: Place) {
        self.tasks.remove(&place).expect("it waits here");
    }

    /// The first behind `place`, or of all.
    pub fn after(&self, place: Option<Place>) -> Option<usize> {
        match place {
            None => self.tasks.first_key_value(),
            Some(place) => self.tasks.range((Excluded(place), Unbounded)).next(),
        }
        .map(|(_, &task)| task)
    }

    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.tasks.values().copied()
    }

    pub fn len(&self) -> usize {
        self.tasks.len()
    }
}

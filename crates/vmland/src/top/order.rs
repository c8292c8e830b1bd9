// SPDX-License-Identifier: GPL-2.0-only
//! Which VMs are shown, in which order.

use std::cmp::Ordering;

use super::columns::{COLUMNS, SORT_BY_NAME, named};
use crate::observe::rates::{Rates, VmRates};

/// A column, or None: the name.
pub type Sort = Option<usize>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub sort: Sort,
    /// Numbers: the smallest first. Names: from the end of the alphabet.
    pub is_reversed: bool,
    pub filter: String,
}

/// For a command line.
pub fn sort(text: &str) -> Result<Sort, String> {
    if text == SORT_BY_NAME {
        return Ok(None);
    }
    named(text).map(Some).ok_or_else(|| {
        let ids: Vec<_> = COLUMNS.iter().map(|it| it.id).collect();
        format!("expected \"{SORT_BY_NAME}\" or one of {}", ids.join(", "))
    })
}

impl Order {
    pub fn new(sort: Sort, filter: &str) -> Self {
        Self {
            sort,
            is_reversed: false,
            filter: filter.into(),
        }
    }

    /// The VMs in order. Who has no number is last.
    pub fn apply<'a>(&self, rates: &'a Rates) -> Vec<&'a VmRates> {
        let filter = self.filter.to_lowercase();
        let is_shown = |vm: &&VmRates| vm.identity.name.to_lowercase().contains(&filter);
        let mut vms: Vec<_> = rates.vms.iter().filter(is_shown).collect();
        vms.sort_by(|a, b| self.compare(a, b));
        vms
    }

    fn compare(&self, a: &VmRates, b: &VmRates) -> Ordering {
        let turned = |ordering: Ordering| match self.is_reversed {
            true => ordering.reverse(),
            false => ordering,
        };
        let by_name = a
            .identity
            .name
            .cmp(&b.identity.name)
            .then(a.key.cmp(&b.key));
        let Some(column) = self.sort else {
            return turned(by_name);
        };
        let value = COLUMNS[column].of_vm;
        match (value(a), value(b)) {
            (Some(a), Some(b)) => turned(b.total_cmp(&a)).then(by_name),
            (a, b) => b.is_some().cmp(&a.is_some()).then(by_name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::rates::tests::of_two_vms;

    fn names(order: &Order) -> Vec<String> {
        let mut rates = of_two_vms();
        let mut unknown = rates.vms[0].clone();
        unknown.identity.name = "new".into();
        unknown.key.nth = 1;
        (unknown.cpu, unknown.ready) = (None, None);
        rates.vms.push(unknown);
        let names = order
            .apply(&rates)
            .into_iter()
            .map(|vm| vm.identity.name.clone());
        names.collect()
    }

    #[test]
    fn by_a_column_or_name() {
        let mut order = Order::new(sort("CPU%").expect("a column"), "");
        assert_eq!(names(&order), ["web-1", "db-1", "new"]);
        order.is_reversed = true;
        assert_eq!(names(&order), ["db-1", "web-1", "new"]);
        order.sort = sort("name").expect("names");
        assert_eq!(names(&order), ["web-1", "new", "db-1"]);
        order.filter = "-1".into();
        assert_eq!(names(&order), ["web-1", "db-1"]);
        order.filter = "DB".into();
        assert_eq!(names(&order), ["db-1"]);
        let wrong = sort("cpu").expect_err("no column");
        assert!(wrong.contains("cpu_percent"), "{wrong}");
    }
}

// SPDX-License-Identifier: GPL-2.0-only
//! The state of the screen, and what keys do to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::columns::COLUMNS;
use super::order::Order;
use crate::observe::rates::{Rates, VcpuRates, VmRates};
use crate::observe::reading::VmKey;

/// The widest screen has no more characters in a line.
const HISTORY_MAX: usize = 512;

/// How far Page Up and Page Down go, in lines.
const PAGE: usize = 10;

pub struct App {
    pub order: Order,
    pub rates: Rates,
    pub mode: Mode,
    pub selected: Option<LineKey>,
    /// Lines of the help that are above the screen.
    pub help_offset: usize,
    /// VMs whose vCPUs are shown.
    open: BTreeSet<VmKey>,
    history: BTreeMap<VmKey, History>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Table,
    /// A filter is being typed.
    Filter,
    Help,
}

/// A VM, or one of its vCPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineKey {
    pub vm: VmKey,
    pub vcpu: Option<i32>,
}

#[derive(Clone, Copy)]
pub struct Line<'a> {
    pub vm: &'a VmRates,
    pub vcpu: Option<&'a VcpuRates>,
}

/// In percent, the latest last.
#[derive(Default)]
pub struct History {
    pub cpu: VecDeque<f64>,
    pub ready: VecDeque<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    GoOn,
    Quit,
}

impl Line<'_> {
    pub fn key(&self) -> LineKey {
        LineKey {
            vm: self.vm.key,
            vcpu: self.vcpu.map(|it| it.id),
        }
    }
}

impl App {
    pub fn new(order: Order, rates: Rates) -> Self {
        let mut this = Self {
            order,
            rates: rates.clone(),
            mode: Mode::Table,
            selected: None,
            help_offset: 0,
            open: BTreeSet::new(),
            history: BTreeMap::new(),
        };
        this.update(rates);
        this
    }

    /// A reading later.
    pub fn update(&mut self, rates: Rates) {
        let keys: BTreeSet<_> = rates.vms.iter().map(|vm| vm.key).collect();
        self.history.retain(|key, _| keys.contains(key));
        self.open.retain(|key| keys.contains(key));
        for vm in &rates.vms {
            let history = self.history.entry(vm.key).or_default();
            push(&mut history.cpu, vm.cpu);
            push(&mut history.ready, vm.ready);
        }
        self.rates = rates;
        self.select_what_is_there();
    }

    pub fn lines(&self) -> Vec<Line<'_>> {
        let of_vm = |vm| {
            let vcpus = self.is_open(vm).then_some(&vm.vcpus).into_iter().flatten();
            let vcpus = vcpus.map(move |vcpu| Line {
                vm,
                vcpu: Some(vcpu),
            });
            [Line { vm, vcpu: None }].into_iter().chain(vcpus)
        };
        self.order
            .apply(&self.rates)
            .into_iter()
            .flat_map(of_vm)
            .collect()
    }

    pub fn is_open(&self, vm: &VmRates) -> bool {
        self.open.contains(&vm.key)
    }

    /// Of the VM that is selected.
    pub fn history(&self) -> Option<(&VmRates, &History)> {
        let key = self.selected?.vm;
        let vm = self.rates.vms.iter().find(|vm| vm.key == key)?;
        Some((vm, self.history.get(&key)?))
    }

    pub fn key(&mut self, key: KeyEvent) -> Then {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            let is_quit = matches!(key.code, KeyCode::Char('c' | 'd'));
            return if is_quit { Then::Quit } else { Then::GoOn };
        }
        match self.mode {
            Mode::Filter => self.key_of_filter(key.code),
            Mode::Help => self.key_of_help(key.code),
            Mode::Table => return self.key_of_table(key.code),
        }
        Then::GoOn
    }

    fn key_of_filter(&mut self, key: KeyCode) {
        match key {
            KeyCode::Enter => self.mode = Mode::Table,
            KeyCode::Esc => {
                self.order.filter.clear();
                self.mode = Mode::Table;
            }
            KeyCode::Backspace => drop(self.order.filter.pop()),
            KeyCode::Char(c) => self.order.filter.push(c),
            _ => {}
        }
        self.select_what_is_there();
    }

    fn key_of_help(&mut self, key: KeyCode) {
        match key {
            KeyCode::Down | KeyCode::Char('j') => self.help_offset += 1,
            KeyCode::Up | KeyCode::Char('k') => {
                self.help_offset = self.help_offset.saturating_sub(1);
            }
            _ => self.mode = Mode::Table,
        }
    }

    fn key_of_table(&mut self, key: KeyCode) -> Then {
        match key {
            KeyCode::Char('q') => return Then::Quit,
            KeyCode::Esc if self.order.filter.is_empty() => return Then::Quit,
            KeyCode::Esc => self.order.filter.clear(),
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => {
                self.help_offset = 0;
                self.mode = Mode::Help;
            }
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Char('>') | KeyCode::Right => self.sort_by(1),
            KeyCode::Char('<') | KeyCode::Left => self.sort_by(COLUMNS.len()),
            KeyCode::Char('r') => self.order.is_reversed = !self.order.is_reversed,
            KeyCode::Enter | KeyCode::Char(' ') => self.open_or_close(),
            KeyCode::Down | KeyCode::Char('j') => self.go(|at, _| at + 1),
            KeyCode::Up | KeyCode::Char('k') => self.go(|at, _| at.saturating_sub(1)),
            KeyCode::PageDown => self.go(|at, _| at + PAGE),
            KeyCode::PageUp => self.go(|at, _| at.saturating_sub(PAGE)),
            KeyCode::Home | KeyCode::Char('g') => self.go(|_, _| 0),
            KeyCode::End | KeyCode::Char('G') => self.go(|_, last| last),
            _ => {}
        }
        self.select_what_is_there();
        Then::GoOn
    }

    /// The column `step` columns to the right; the name is one of them.
    fn sort_by(&mut self, step: usize) {
        let at = self.order.sort.map_or(0, |column| column + 1);
        let at = (at + step) % (COLUMNS.len() + 1);
        self.order.sort = at.checked_sub(1);
    }

    fn open_or_close(&mut self) {
        let Some(LineKey { vm, .. }) = self.selected else {
            return;
        };
        if !self.open.remove(&vm) {
            self.open.insert(vm);
        }
        self.selected = Some(LineKey { vm, vcpu: None });
    }

    fn go(&mut self, to: impl Fn(usize, usize) -> usize) {
        let lines = self.lines();
        let Some(last) = lines.len().checked_sub(1) else {
            return;
        };
        let is_selected = |line: &Line<'_>| Some(line.key()) == self.selected;
        let at = lines.iter().position(is_selected).unwrap_or_default();
        self.selected = Some(lines[to(at, last).min(last)].key());
    }

    fn select_what_is_there(&mut self) {
        let lines = self.lines();
        if !lines.iter().any(|line| Some(line.key()) == self.selected) {
            let vm = self.selected.map(|it| it.vm);
            let same_vm = lines.iter().find(|line| Some(line.vm.key) == vm);
            self.selected = same_vm.or(lines.first()).map(Line::key);
        }
    }
}

fn push(history: &mut VecDeque<f64>, value: Option<f64>) {
    history.extend(value);
    if history.len() > HISTORY_MAX {
        history.pop_front();
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::observe::rates::tests::{key, of_two_vms};
    use crate::top::order::sort;

    pub fn app() -> App {
        App::new(
            Order::new(sort("cpu_percent").expect("a column"), ""),
            of_two_vms(),
        )
    }

    pub fn press(app: &mut App, keys: &[KeyCode]) -> Then {
        let mut then = Then::GoOn;
        for code in keys {
            then = app.key((*code).into());
        }
        then
    }

    fn selected(app: &App) -> (i32, Option<i32>) {
        let line = app.selected.expect("a line");
        (line.vm.pid, line.vcpu)
    }

    #[test]
    fn vcpus_open_and_close() {
        use KeyCode::{Char, Down, End, Enter, Home, Up};
        let mut app = app();
        assert_eq!(selected(&app), (10, None));
        press(&mut app, &[Enter, Down, Down]);
        assert_eq!(app.lines().len(), 4);
        assert_eq!(selected(&app), (10, Some(1)));
        press(&mut app, &[Down, Down, Down]);
        assert_eq!(selected(&app), (20, None));
        press(&mut app, &[Home, Up, End, Up]);
        assert_eq!(selected(&app), (10, Some(1)));
        press(&mut app, &[Char(' ')]);
        assert_eq!(app.lines().len(), 2);
        assert_eq!(selected(&app), (10, None));
    }

    #[test]
    fn keys_sort_and_filter() {
        use KeyCode::{Backspace, Char, Enter, Esc};
        let mut app = app();
        press(&mut app, &[Char('<')]);
        assert_eq!(app.order.sort, None);
        press(&mut app, &[Char('<')]);
        assert_eq!(app.order.sort, Some(COLUMNS.len() - 1));
        press(&mut app, &[Char('>'), Char('>'), Char('r')]);
        assert_eq!((app.order.sort, app.order.is_reversed), (Some(0), true));
        press(&mut app, &[Char('/'), Char('d'), Char('q'), Backspace]);
        assert_eq!((app.mode, app.lines().len()), (Mode::Filter, 1));
        // What was selected is not shown.
        assert_eq!(selected(&app), (20, None));
        press(&mut app, &[Enter]);
        assert_eq!((app.mode, app.order.filter.as_str()), (Mode::Table, "d"));
        assert_eq!(press(&mut app, &[Esc]), Then::GoOn);
        assert_eq!(app.lines().len(), 2);
        press(&mut app, &[Char('/'), Char('x')]);
        assert_eq!(app.selected, None);
        press(&mut app, &[Char('j'), Enter, Enter]);
        assert_eq!(press(&mut app, &[Esc, Esc]), Then::Quit);
    }

    #[test]
    fn a_vm_that_ends_is_forgotten() {
        let mut app = app();
        press(&mut app, &[KeyCode::Enter]);
        app.update(of_two_vms());
        assert_eq!(app.history().map(|(_, it)| it.cpu.len()), Some(2));
        let mut rates = of_two_vms();
        rates.vms.remove(0);
        app.update(rates);
        assert_eq!(selected(&app), (20, None));
        assert!(!app.open.contains(&key(10)) && !app.history.contains_key(&key(10)));
        let mut nobody = of_two_vms();
        nobody.vms.clear();
        app.update(nobody);
        assert_eq!((app.selected, app.lines().len()), (None, 0));
        assert!(app.history().is_none());
    }

    #[test]
    fn ctrl_c_quits_everywhere() {
        let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        for mode in [Mode::Table, Mode::Filter, Mode::Help] {
            let mut app = app();
            app.mode = mode;
            assert_eq!(app.key(ctrl_c), Then::Quit);
        }
    }
}

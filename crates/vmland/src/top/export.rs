// SPDX-License-Identifier: GPL-2.0-only
//! Readings for programs. The keys are the columns' ids; what is not known is null, or empty.

use std::io::Write;

use anyhow::Result;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::columns::COLUMNS;
use super::order::Order;
use crate::observe::rates::{HostRates, Rates, VcpuRates, VmRates};

/// An object on a line.
pub fn json(out: &mut impl Write, rates: &Rates, order: &Order) -> Result<()> {
    let vms: Vec<_> = order.apply(rates).into_iter().map(of_vm).collect();
    let reading = json!({
        "time": time(rates),
        "span_s": rates.span_s,
        "host": of_host(&rates.host),
        "vms": vms,
    });
    writeln!(out, "{reading}")?;
    Ok(())
}

fn of_host(host: &HostRates) -> Value {
    json!({
        "scheduler": host.scheduler,
        "cpus": host.cpus,
        "vms": host.vms,
        "vcpus": host.vcpus,
        "runnable_vcpus": host.runnable_vcpus,
        "pressure_percent": host.pressure,
        "scheduler_cpu_percent": host.scheduler_cpu,
        "yields_asked_per_s": host.of_vmland.map(|it| it.yields_asked),
        "yields_honoured_per_s": host.of_vmland.map(|it| it.yields_honoured),
        "handoffs_per_s": host.of_vmland.map(|it| it.handoffs),
        "handoffs_next_per_s": host.of_vmland.map(|it| it.handoffs_next),
        "receivers_per_s": host.of_vmland.map(|it| it.receivers),
        "gang_turns_per_s": host.of_vmland.map(|it| it.gang_turns),
        "preemptions_per_s": host.of_vmland.map(|it| it.preemptions),
    })
}

fn of_vm(vm: &VmRates) -> Value {
    let mut object = Map::new();
    object.insert("name".into(), json!(vm.identity.name));
    object.insert("vmm".into(), json!(vm.identity.vmm));
    object.insert("uuid".into(), json!(vm.identity.uuid));
    object.insert("pid".into(), json!(vm.key.pid));
    for column in &COLUMNS {
        object.insert(column.id.into(), json!((column.of_vm)(vm)));
    }
    let vcpus: Vec<_> = vm.vcpus.iter().map(of_vcpu).collect();
    object.insert("vcpus".into(), vcpus.into());
    object.into()
}

fn of_vcpu(vcpu: &VcpuRates) -> Value {
    let mut object = Map::new();
    object.insert("id".into(), json!(vcpu.id));
    object.insert("tid".into(), json!(vcpu.tid));
    for column in &COLUMNS {
        if let Some(value) = column.of_vcpu {
            object.insert(column.id.into(), json!(value(vcpu)));
        }
    }
    object.into()
}

pub fn csv_header(out: &mut impl Write) -> Result<()> {
    let ids = COLUMNS.iter().map(|column| column.id);
    let all = ["time", "name", "pid", "vcpus"].into_iter().chain(ids);
    csv_lines(out, [all.map(str::to_owned).collect()])
}

/// A line a VM.
pub fn csv(out: &mut impl Write, rates: &Rates, order: &Order) -> Result<()> {
    let line = |vm: &VmRates| {
        let value = |value: Option<f64>| value.map_or(String::new(), |it| it.to_string());
        let values = COLUMNS.iter().map(|column| value((column.of_vm)(vm)));
        let first = [
            time(rates),
            vm.identity.name.clone(),
            vm.key.pid.to_string(),
            vm.vcpus.len().to_string(),
        ];
        first.into_iter().chain(values).collect()
    };
    csv_lines(out, order.apply(rates).into_iter().map(line))
}

fn csv_lines(out: &mut impl Write, lines: impl IntoIterator<Item = Vec<String>>) -> Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    for line in lines {
        writer.write_record(line)?;
    }
    writer.flush()?;
    Ok(())
}

/// In UTC, to the millisecond.
fn time(rates: &Rates) -> String {
    let ns = i128::from(rates.unix_ms) * 1_000_000;
    let time = OffsetDateTime::from_unix_timestamp_nanos(ns).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::rates::tests::of_two_vms;

    fn order() -> Order {
        Order::new(None, "")
    }

    #[test]
    fn json_has_the_host_the_vms_and_their_vcpus() {
        let mut out = vec![];
        json(&mut out, &of_two_vms(), &order()).expect("written");
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
        let reading: Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(reading["time"], "1970-01-01T00:16:41Z");
        assert_eq!(reading["host"]["scheduler"], "vmland");
        assert_eq!(reading["host"]["yields_asked_per_s"], 100.0);
        let web = &reading["vms"][1];
        assert_eq!(web["name"], "web-1");
        assert_eq!(web["ready_percent"], 30.0);
        assert_eq!(web["exits_per_s"], Value::Null);
        assert_eq!(web["vcpus"][1]["tid"], 12);
        assert_eq!(web["vcpus"][1]["ready_percent"], 30.0);
        assert!(web["vcpus"][1].get("pause_exits_per_s").is_none());
    }

    #[test]
    fn csv_has_a_line_a_vm() {
        let mut rates = of_two_vms();
        rates.vms[0].identity.name = "a,\"b".into();
        let mut out = vec![];
        csv_header(&mut out).expect("written");
        csv(&mut out, &rates, &order()).expect("written");
        let text = String::from_utf8(out).expect("text");
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("time,name,pid,vcpus,cpu_percent,due_percent,"));
        assert!(lines[1].starts_with("1970-01-01T00:16:41Z,\"a,\"\"b\",10,2,120,135,30,5,"));
        assert!(lines[2].starts_with("1970-01-01T00:16:41Z,db-1,20,2,60,45,"));
        let columns = lines[0].split(',').count();
        assert_eq!(lines[2].split(',').count(), columns);
    }
}

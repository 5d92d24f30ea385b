//! The configuration of a container image.

use serde_json::{Map, Value, json};

use super::Inputs;
use crate::date;
use crate::package::{Arch, Sha256};

/// Makes the configuration of an image whose layers have the digests `unpacked`, the lowest first.
pub(super) fn text(inputs: &Inputs<'_>, unpacked: &[Sha256]) -> String {
    let created = created(inputs.epoch_seconds);
    let history: Vec<_> = unpacked
        .iter()
        .map(|_| json!({"created": created, "created_by": "oic"}))
        .collect();
    let unpacked: Vec<_> = unpacked.iter().map(|digest| format!("sha256:{digest}")).collect();
    let config = json!({
        "architecture": architecture(inputs.arch),
        "os": "linux",
        "created": created,
        "config": Value::Object(execution(inputs)),
        "rootfs": {"type": "layers", "diff_ids": unpacked},
        "history": history,
    });
    config.to_string()
}

/// Makes what a runtime starts; what the template does not say is absent.
fn execution(inputs: &Inputs<'_>) -> Map<String, Value> {
    let container = inputs.container;
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
    set(
        "Env",
        json!(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]),
    );
    if !container.entrypoint.is_empty() {
        set("Entrypoint", json!(container.entrypoint));
    }
    if !container.command.is_empty() {
        set("Cmd", json!(container.command));
    }
    if let Some(user) = &container.user {
        set("User", json!(user));
    }
    if let Some(directory) = &container.working_directory {
        set("WorkingDir", json!(directory));
    }
    if !container.labels.is_empty() {
        let labels = container
            .labels
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)));
        set("Labels", Value::Object(labels.collect()));
    }
    fields
}

/// Returns the name that Go has for an architecture, as the specification asks for.
pub(super) fn architecture(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "amd64",
        Arch::Aarch64 => "arm64",
        Arch::Armv7hl => "arm",
    }
}

/// Words a time as RFC 3339 does.
fn created(epoch_seconds: u64) -> String {
    let seconds = i64::try_from(epoch_seconds).unwrap_or(i64::MAX);
    date::civil(seconds).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

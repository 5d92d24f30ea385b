//! Several builds at once. What they have in common is done by the first that comes to it; the others wait for
//! just that: the base and each step layer have a lock.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::cancel::Cancel;
use crate::progress::{Progress, TaskId, Unit};

use super::metadata::Shared;
use super::report::BuildReport;
use super::{BuildError, BuildRequest, build, build_one};

/// Builds all `requests`, at most `jobs` at a time, and gives their results in the same order. One that fails does
/// not stop the others. What a build tells is preceded by its `systemConfig.name`.
pub fn build_all(
    requests: &[BuildRequest],
    jobs: usize,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Vec<Result<BuildReport, BuildError>> {
    if let [request] = requests {
        return vec![build(request, progress, cancel)];
    }
    let shared = Shared::default();
    let waiting: Mutex<VecDeque<usize>> = Mutex::new((0..requests.len()).collect());
    let results: Mutex<Vec<(usize, Result<BuildReport, BuildError>)>> = Mutex::default();
    let work = || {
        loop {
            let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some((number, request)) = next.and_then(|number| Some((number, requests.get(number)?))) else {
                return;
            };
            let named = Named {
                name: &request.loaded.template.system.name,
                shown: progress,
            };
            let result = build_one(request, &shared, &named, cancel);
            results
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((number, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, requests.len().max(1)) {
            scope.spawn(work);
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Says which build something is about.
#[derive(Debug)]
struct Named<'a> {
    name: &'a str,
    shown: &'a dyn Progress,
}

impl Progress for Named<'_> {
    fn start(&self, label: &str, unit: Unit, total: Option<u64>) -> TaskId {
        self.shown.start(&format!("{}: {label}", self.name), unit, total)
    }

    fn advance(&self, task: TaskId, amount: u64) {
        self.shown.advance(task, amount);
    }

    fn finish(&self, task: TaskId) {
        self.shown.finish(task);
    }

    fn note(&self, line: &str) {
        self.shown.note(&format!("{}: {line}", self.name));
    }

    fn detail(&self, line: &str) {
        self.shown.detail(line);
    }
}

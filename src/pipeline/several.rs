//! Several builds at once. The first build that comes to shared work does it; the others wait for just that: the base
//! and each step layer have a lock.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::progress::{Progress, TaskId, Unit};

use crate::pipeline::error::BuildError;
use crate::pipeline::medium::{build, build_one};
use crate::pipeline::report::BuildReport;
use crate::pipeline::request::BuildRequest;
use crate::pipeline::shared::Shared;
use crate::work::Work;

/// Builds all `requests`, as many at a time as `work` has threads, and gives their results in the same order. One that fails does not
/// stop the others. The messages of a build begin with its `systemConfig.name`.
pub fn build_all(requests: &[BuildRequest], work: Work<'_>) -> Vec<Result<BuildReport, BuildError>> {
    if let [request] = requests {
        return vec![build(request, work)];
    }
    let shared = Shared::among(requests.len());
    let waiting: Mutex<VecDeque<usize>> = Mutex::new((0..requests.len()).collect());
    let results: Mutex<Vec<(usize, Result<BuildReport, BuildError>)>> = Mutex::default();
    let builder = || {
        loop {
            let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some((number, request)) = next.and_then(|number| Some((number, requests.get(number)?))) else {
                return;
            };
            let named = Named {
                name: &request.loaded().template.system.name,
                shown: work.progress,
            };
            let result = build_one(
                request,
                &shared,
                Work {
                    progress: &named,
                    ..work
                },
            );
            results
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((number, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..work.threads.clamp(1, requests.len().max(1)) {
            scope.spawn(builder);
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

/// A progress display that adds the name of the build.
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

//! Labs beside each other: what can run alone is a task, and the lanes take tasks until none is left.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    thread,
};

use super::suite::CaseEnd;

/// Labs at a time: each is one busy thread and 2 GiB.
const LANES: usize = 2;

/// Something that keeps one lane busy.
pub(crate) struct Task<'a> {
    /// About how long it takes, in whatever unit all tasks share.
    pub(crate) weight: usize,
    /// Runs it and returns what became of its cases.
    pub(crate) run: Box<dyn FnOnce() -> Vec<CaseEnd> + Send + 'a>,
}

/// Runs `tasks`, [`LANES`] at a time; their ends come in the order of `tasks`.
pub(crate) fn run(tasks: Vec<Task<'_>>) -> Vec<CaseEnd> {
    let lanes = thread::available_parallelism().map_or(1, usize::from).min(LANES);
    let mut tasks: Vec<_> = tasks.into_iter().enumerate().collect();
    // Long ones first, so that no lane is left alone with one at the end.
    tasks.sort_by_key(|(_, task)| Reverse(task.weight));
    let waiting = Mutex::new(tasks.into_iter());
    let ended = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                while let Some((place, task)) = next(&waiting) {
                    let ends = (task.run)();
                    ended
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .insert(place, ends);
                }
            });
        }
    });
    ended
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .into_values()
        .flatten()
        .collect()
}

/// The lock is held for the choice alone, not for the task that follows.
fn next<T>(waiting: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).next()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{CaseEnd, Task, run};

    #[test]
    fn ends_come_in_the_order_of_the_tasks_and_not_of_their_weight() {
        let end = |name: &str| CaseEnd {
            name: name.to_owned(),
            failure: None,
            took: Duration::ZERO,
        };
        let task = |name: &'static str, weight| Task {
            weight,
            run: Box::new(move || vec![end(name), end(name)]),
        };
        let names: Vec<_> = run(vec![task("short", 1), task("long", 9), task("middle", 5)])
            .into_iter()
            .map(|end| end.name)
            .collect();
        assert_eq!(names, ["short", "short", "long", "long", "middle", "middle"]);
    }
}

//! Many independent runs on all processors; the results come in the order of the runs, on whichever processor they ran.

use std::thread;

/// `run(0)` to `run(runs - 1)`.
pub fn each<T: Send>(runs: usize, run: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(runs.max(1));
    let share = |thread: usize| {
        let run = &run;
        move || (thread..runs).step_by(threads).map(|number| (number, run(number))).collect::<Vec<_>>()
    };
    let mut all: Vec<(usize, T)> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(share(thread))).collect();
        running
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    all.sort_by_key(|(number, _)| *number);
    all.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_runs() {
        assert_eq!(each(100, |run| run * 2), (0..100).map(|run| run * 2).collect::<Vec<_>>());
        assert_eq!(each(0, |run| run), Vec::<usize>::new());
    }
}

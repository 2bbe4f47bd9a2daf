//! The timers of many workers in one place: a ring of milliseconds, because ten thousand timers of the runtime's own would
//! cost more than what they wait for.

use std::mem;

use rollout::base::time::Micros;

/// Milliseconds ahead for which there is a place; what is further away comes then.
const SLOTS: u64 = 4096;

/// What is due when.
pub(super) struct Wheel<T> {
    slots: Vec<Vec<(Micros, T)>>,
    /// The millisecond that is handed out next.
    next: u64,
}

impl<T> Wheel<T> {
    /// An empty one, from time 0 on.
    pub(super) fn new() -> Self {
        Self { slots: (0..SLOTS).map(|_| Vec::new()).collect(), next: 0 }
    }

    /// Something is due; what is overdue comes with the next turn.
    pub(super) fn at(&mut self, due: Micros, what: T) {
        let slot = due.to_millis().0.clamp(self.next, self.next + SLOTS - 1) % SLOTS;
        if let Some(slot) = self.slots.get_mut(slot as usize) {
            slot.push((due, what));
        }
    }

    /// Puts one millisecond's events into `events`, in order, if that millisecond is over; the room it brings is used again.
    pub(super) fn turn(&mut self, now: Micros, events: &mut Vec<(Micros, T)>) -> bool {
        if self.next >= now.to_millis().0 {
            return false;
        }
        events.clear();
        if let Some(slot) = self.slots.get_mut((self.next % SLOTS) as usize) {
            mem::swap(slot, events);
        }
        self.next += 1;
        events.sort_unstable_by_key(|(due, _)| *due);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_order_and_none_is_lost() {
        let mut wheel = Wheel::new();
        for due in [5_200, 1_900, 1_100, 9_000_000, 0] {
            wheel.at(Micros(due), due);
        }
        let (mut events, mut seen) = (Vec::new(), Vec::new());
        let mut turn = |wheel: &mut Wheel<u64>, now, seen: &mut Vec<u64>| {
            while wheel.turn(Micros(now), &mut events) {
                seen.extend(events.iter().map(|(_, what)| *what));
            }
        };
        turn(&mut wheel, 1_999, &mut seen);
        assert_eq!(seen, [0], "a millisecond that is not over is not handed out");
        turn(&mut wheel, 6_000, &mut seen);
        assert_eq!(seen, [0, 1_100, 1_900, 5_200]);
        wheel.at(Micros(1), 1);
        turn(&mut wheel, 7_000, &mut seen);
        assert_eq!(seen.last(), Some(&1), "overdue");
        turn(&mut wheel, 5_000_000, &mut seen);
        assert_eq!(seen.last(), Some(&9_000_000), "too far away: as late as there is a place");
    }
}

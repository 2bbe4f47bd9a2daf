//! The agent's shell in virtual time: as agent/src/engine.rs, with a disk that takes a while and a process that may die.
//!
//! Urgent commands leave at once, all others when their event is stored. A crash takes the controller back to the stored
//! events.

use std::collections::{BTreeSet, VecDeque};

use rollout::base::time::Millis;
use rollout::controller::canary::Canary;
use rollout::controller::fleet::Conn;
use rollout::controller::{Command, Controller, Event};

/// The agent and its disk.
#[derive(Debug)]
pub(crate) struct Agent {
    controller: Controller,
    /// What is stored; kept only where a crash will need it.
    journal: Option<Vec<(Event, Millis)>>,
    unstored: VecDeque<Unstored>,
    /// Events so far, and with them the number of the last.
    events: u64,
    /// Which life of the process this is.
    life: u64,
    is_up: bool,
    /// Streams on which a worker has sent its Hello.
    greeted: BTreeSet<Conn>,
}

#[derive(Debug)]
struct Unstored {
    number: u64,
    event: Option<(Event, Millis)>,
    commands: Vec<Command>,
}

/// What follows from one event.
#[derive(Debug)]
pub(crate) struct Follows {
    /// Commands to perform now.
    pub(crate) urgent: Vec<Command>,
    /// The life in which the event was handled, and its number: the disk reports when it has stored it.
    pub(crate) life: u64,
    pub(crate) number: u64,
}

impl Agent {
    pub(crate) fn new(keeps_journal: bool) -> Self {
        Self {
            controller: Controller::default(),
            journal: keeps_journal.then(Vec::new),
            unstored: VecDeque::new(),
            events: 0,
            life: 1,
            is_up: true,
            greeted: BTreeSet::new(),
        }
    }

    pub(crate) const fn controller(&self) -> &Controller {
        &self.controller
    }

    /// The one canary.
    pub(crate) fn canary(&self) -> Option<&Canary> {
        self.controller.canaries().next()
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.is_up
    }

    /// Streams that can be written to.
    pub(crate) fn streams(&self) -> Vec<Conn> {
        self.greeted.iter().copied().collect()
    }

    pub(crate) fn has_stream(&self, conn: Conn) -> bool {
        self.greeted.contains(&conn)
    }

    /// The agent ends a stream.
    pub(crate) fn close(&mut self, conn: Conn) {
        self.greeted.remove(&conn);
    }

    /// One event, as the engine's loop takes it.
    pub(crate) fn happens(&mut self, event: Event, now: Millis) -> Follows {
        match &event {
            Event::Connected(conn, _) => {
                self.greeted.insert(*conn);
            }
            Event::Disconnected(conn) => self.close(*conn),
            _ => {}
        }
        let kept = self.journal.as_ref().map(|_| (event.clone(), now));
        let output = self.controller.handle(event, now);
        self.events += 1;
        self.unstored.push_back(Unstored { number: self.events, event: kept, commands: output.stored });
        Follows { urgent: output.urgent, life: self.life, number: self.events }
    }

    /// The last event's commands that wait for the disk.
    pub(crate) fn deferred(&self) -> impl Iterator<Item = &Command> {
        self.unstored.back().into_iter().flat_map(|last| last.commands.iter())
    }

    /// The disk has caught up: the commands that waited for it.
    pub(crate) fn stored(&mut self, life: u64, number: u64) -> Vec<Command> {
        let mut commands = Vec::new();
        while life == self.life && self.unstored.front().is_some_and(|first| first.number <= number) {
            let Some(stored) = self.unstored.pop_front() else { break };
            if let (Some(journal), Some(event)) = (&mut self.journal, stored.event) {
                journal.push(event);
            }
            commands.extend(stored.commands);
        }
        commands
    }

    /// kill -9.
    pub(crate) fn crash(&mut self) {
        self.is_up = false;
        self.life += 1;
        self.unstored.clear();
        self.greeted.clear();
    }

    /// The process starts again on its journal; [`Controller::restarted`] must follow.
    pub(crate) fn restart(&mut self) {
        self.is_up = true;
        self.controller = Controller::default();
        for (event, at) in self.journal.iter().flatten() {
            self.controller.handle(event.clone(), *at);
        }
    }
}

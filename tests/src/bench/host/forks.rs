//! How fast children are made, answer and end.

use std::collections::HashMap;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use warren_rhost::session::FromChild;

use super::driver::{Forks, Parent, Session, Told, Values, outputs_of, wait};
use crate::bench::plan::Plan;
use crate::bench::series::{self, Sample};

/// What every session is asked.
pub(super) const CODE: &str = "1+1";
/// Children of one parent that live at the same moment while the rate is measured: enough that it never waits for us.
const AT_ONCE: usize = 4;

/// Whole lives, one after another: how long each took to answer. The end of a child is not part of it.
pub(super) fn answers(parent: &mut Parent, forks: Forks, plan: &Plan) -> io::Result<Sample> {
    let mut times = Vec::new();
    for _ in 0..plan.forks {
        let began = Instant::now();
        let (child, session) = match forks {
            Forks::Bare => {
                let child = parent.ask(false)?;
                // Its only word is its answer.
                if !matches!(parent.hear()?, Told::Bare) {
                    return Err(io::Error::other("a bare child did not answer"));
                }
                (child, None)
            }
            Forks::Sessions => {
                let mut session = parent.fork()?;
                session.run(CODE, Values::default())?;
                (session.child, Some(session))
            }
        };
        times.push(began.elapsed());
        drop(session);
        while !matches!(parent.hear()?, Told::Exited(ended) if ended == child) {}
    }
    Ok(Sample::in_turn(times))
}

/// Whole lives, as many as all parents together can make: fork, answer, end.
pub(super) fn rate(parents: &mut [Parent], plan: &Plan) -> io::Result<Sample> {
    let began = Instant::now();
    let span = plan.span();
    let lives = thread::scope(|scope| {
        let threads: Vec<_> = parents
            .iter_mut()
            .map(|parent| scope.spawn(move || Crowd::new(parent).live(span)))
            .collect();
        let joined = threads.into_iter().map(|thread| match thread.join() {
            Ok(lives) => lives,
            Err(_panicked) => Err(io::Error::other("a thread of the bench died")),
        });
        joined.collect::<io::Result<Vec<_>>>()
    })?;
    let lives = lives.concat();
    let count = lives.len() as u64;
    Ok(Sample::new(lives, began.elapsed(), count))
}

/// Children of one parent, some at each moment.
struct Crowd<'a> {
    parent: &'a mut Parent,
    born: HashMap<u64, Instant>,
    sessions: HashMap<u64, Session>,
    lives: Vec<u64>,
}

impl<'a> Crowd<'a> {
    fn new(parent: &'a mut Parent) -> Self {
        Self {
            parent,
            born: HashMap::new(),
            sessions: HashMap::new(),
            lives: Vec::new(),
        }
    }

    /// Makes children for this long, and waits until the last has ended: how long each lived, in nanoseconds.
    fn live(mut self, span: Duration) -> io::Result<Vec<u64>> {
        let began = Instant::now();
        loop {
            while self.born.len() < AT_ONCE && began.elapsed() < span {
                let child = self.parent.ask(false)?;
                self.born.insert(child, Instant::now());
            }
            if self.born.is_empty() {
                return Ok(self.lives);
            }
            let (told, spoke) = self.wait()?;
            for child in spoke {
                self.listen(child)?;
            }
            if told {
                self.hear()?;
            }
        }
    }

    /// Waits for the parent or a child: whether the parent told something, and which children did.
    fn wait(&self) -> io::Result<(bool, Vec<u64>)> {
        let mut ready = vec![self.parent.readable()];
        let children: Vec<u64> = self.sessions.keys().copied().collect();
        ready.extend(self.sessions.values().map(Session::readable));
        wait(&mut ready)?;
        let mut spoke = ready.iter().map(|one| !one.revents().is_empty());
        let told = spoke.next().unwrap_or(false);
        let children = children.into_iter().zip(spoke);
        Ok((
            told,
            children
                .filter_map(|(child, spoke)| spoke.then_some(child))
                .collect(),
        ))
    }

    fn hear(&mut self) -> io::Result<()> {
        match self.parent.hear()? {
            Told::Forked(mut session) => {
                session.send(CODE, Values::default())?;
                self.sessions.insert(session.child, session);
            }
            Told::Bare => {}
            Told::Exited(child) => {
                if let Some(born) = self.born.remove(&child) {
                    self.lives.push(series::nanos(born.elapsed()));
                }
            }
        }
        Ok(())
    }

    /// Reads a frame of a child; with its answer it is let go, and ends.
    fn listen(&mut self, child: u64) -> io::Result<()> {
        let Some(session) = self.sessions.get_mut(&child) else {
            return Ok(());
        };
        if let FromChild::Done(done) = session.read()? {
            outputs_of(done)?;
            self.sessions.remove(&child);
        }
        Ok(())
    }
}

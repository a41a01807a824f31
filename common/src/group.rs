//! Grouping: what waits at the same moment shares one statement and one commit.
//!
//! While a group is under way the next one gathers, so a lone item never waits for company and a crowd pays for one
//! commit instead of many.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

/// The runner is gone, which happens only while the program stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this process is stopping")]
pub struct Stopped;

/// Turns that others get before a group closes.
const YIELDS: usize = 3;

type Waiting<I, O> = (I, oneshot::Sender<O>);

/// Hands items to a runner and gives each its own answer.
pub struct Group<I, O> {
    sender: mpsc::Sender<Waiting<I, O>>,
}

impl<I, O> Clone for Group<I, O> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
        }
    }
}

impl<I: Send + 'static, O: Send + 'static> Group<I, O> {
    /// Starts a runner. `flush` gets at most `largest` items and answers one for each, in order; an item that it leaves
    /// without an answer is told that the process is stopping.
    pub fn start<F, R>(largest: usize, flush: F) -> Self
    where
        F: Fn(Vec<I>) -> R + Send + Sync + 'static,
        R: Future<Output = Vec<O>> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(largest);
        tokio::spawn(run(receiver, largest, Arc::new(flush)));
        Self { sender }
    }

    /// Waits for the group that this item becomes part of.
    pub async fn submit(&self, item: I) -> Result<O, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.sender
            .send((item, answer))
            .await
            .map_err(|_closed| Stopped)?;
        answered.await.map_err(|_dropped| Stopped)
    }
}

async fn run<I, O, F, R>(mut receiver: mpsc::Receiver<Waiting<I, O>>, largest: usize, flush: Arc<F>)
where
    F: Fn(Vec<I>) -> R,
    R: Future<Output = Vec<O>>,
{
    let mut gathered = Vec::with_capacity(largest);
    while receiver.recv_many(&mut gathered, largest).await > 0 {
        // Whoever is about to submit gets a turn first; nobody else is waited for.
        for _ in 0..YIELDS {
            tokio::task::yield_now().await;
            while gathered.len() < largest
                && let Ok(more) = receiver.try_recv()
            {
                gathered.push(more);
            }
        }
        let (items, answers): (Vec<I>, Vec<oneshot::Sender<O>>) = gathered.drain(..).unzip();
        for (answer, outcome) in answers.into_iter().zip(flush(items).await) {
            // Whoever asked may have gone away; the work is done all the same.
            let _ = answer.send(outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn what_arrives_during_a_flush_goes_together_in_the_next() {
        let gate = Arc::new(Semaphore::new(0));
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let group = Group::start(8, {
            let (gate, sizes) = (Arc::clone(&gate), Arc::clone(&sizes));
            move |items: Vec<u32>| {
                let (gate, sizes) = (Arc::clone(&gate), Arc::clone(&sizes));
                async move {
                    gate.acquire().await.unwrap().forget();
                    sizes.lock().unwrap().push(items.len());
                    items.into_iter().map(|item| item * 2).collect()
                }
            }
        });
        let asked: Vec<_> = (0..4_u32)
            .map(|item| {
                let group = group.clone();
                tokio::spawn(async move { group.submit(item).await })
            })
            .collect();
        gate.add_permits(8);
        let mut answers = Vec::new();
        for task in asked {
            answers.push(task.await.unwrap().unwrap());
        }
        assert_eq!(answers, [0, 2, 4, 6]);
        assert_eq!(sizes.lock().unwrap().iter().sum::<usize>(), 4);
    }
}

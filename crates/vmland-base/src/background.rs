// SPDX-License-Identifier: GPL-2.0-only
//! A function that may block, called in threads of its own.
//!
//! The thread that asks does not wait. A file descriptor can be read when there are answers, so that a loop
//! around `poll()` gets them between its other work.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

/// What a thread does, until the [`Background`] is dropped.
pub type Work = Box<dyn FnOnce() + Send>;

pub struct Background<Q, A> {
    questions: Sender<Q>,
    answers: Receiver<A>,
    /// Has a byte for each answer since the last [`Background::take`].
    woken: UnixStream,
}

impl<Q: Send + 'static, A: Send + 'static> Background<Q, A> {
    /// Has `spawn` start each of the threads. A question waits for others only while that many
    /// block.
    pub fn start(threads: usize, function: fn(Q) -> A, spawn: impl Fn(Work)) -> io::Result<Self> {
        let (questions, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let (sender, answers) = channel();
        let (woken, waker) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        waker.set_nonblocking(true)?;
        let waker = Arc::new(waker);
        for _ in 0..threads {
            let (queue, sender, waker) = (queue.clone(), sender.clone(), waker.clone());
            spawn(Box::new(move || {
                while let Some(question) = next(&queue) {
                    if sender.send(function(question)).is_err() {
                        return;
                    }
                    wake(&waker);
                }
            }));
        }
        Ok(Self {
            questions,
            answers,
            woken,
        })
    }

    pub fn ask(&self, question: Q) {
        // It fails only if the function has panicked in every thread.
        let _ = self.questions.send(question);
    }

    /// The answers so far, in the order in which they came.
    pub fn take(&self) -> Vec<A> {
        // First, so that an answer from now on wakes again.
        let mut bytes = [0; 64];
        while (&self.woken).read(&mut bytes).is_ok_and(|n| n > 0) {}
        self.answers.try_iter().collect()
    }
}

/// It can be read while there are answers.
impl<Q, A> AsFd for Background<Q, A> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }
}

/// Waits for a question. None: there will be none.
fn next<Q>(queue: &Mutex<Receiver<Q>>) -> Option<Q> {
    let queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
    queue.recv().ok()
}

/// Where there is no room for a byte, there are enough to wake the other end.
fn wake(mut waker: &UnixStream) {
    let _ = waker.write(&[0]);
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    /// Answers that come by `read()` of the file descriptor, as many as that.
    fn wait_for<A: Send + 'static>(background: &Background<fn() -> A, A>, nr: usize) -> Vec<A> {
        let end = Instant::now() + Duration::from_secs(10);
        let mut answers = vec![];
        while answers.len() < nr && Instant::now() < end {
            answers.extend(background.take());
            thread::yield_now();
        }
        answers
    }

    fn spawn(work: Work) {
        thread::spawn(work);
    }

    fn call<A>(function: fn() -> A) -> A {
        function()
    }

    fn is_woken<Q, A>(background: &Background<Q, A>) -> bool {
        let mut byte = [0];
        let mut peek = &background.woken;
        peek.read(&mut byte).is_ok()
    }

    #[test]
    fn an_answer_wakes() {
        let background = Background::start(1, call::<u32>, spawn).expect("threads");
        assert!(!is_woken(&background));
        background.ask(|| 1);
        background.ask(|| 2);
        assert_eq!(wait_for(&background, 2), [1, 2]);
        assert!(!is_woken(&background));
        background.ask(|| 3);
        let end = Instant::now() + Duration::from_secs(10);
        while !is_woken(&background) {
            assert!(Instant::now() < end, "no answer");
            thread::yield_now();
        }
        assert_eq!(background.take(), [3]);
    }

    #[test]
    fn a_question_that_blocks_holds_up_no_other() {
        static BLOCKED: Mutex<()> = Mutex::new(());
        let guard = BLOCKED.lock().expect("not poisoned");
        let background = Background::start(2, call::<u32>, spawn).expect("threads");
        background.ask(|| {
            drop(BLOCKED.lock());
            1
        });
        background.ask(|| 2);
        background.ask(|| 3);
        assert_eq!(wait_for(&background, 2), [2, 3]);
        drop(guard);
        assert_eq!(wait_for(&background, 1), [1]);
    }

    #[test]
    fn threads_end_with_it() {
        let background = Background::start(3, call::<()>, spawn).expect("threads");
        let woken = background.woken.try_clone().expect("a file descriptor");
        drop(background);
        // The last thread closes the other end.
        woken.set_nonblocking(false).expect("a socket");
        assert_eq!((&woken).read(&mut [0]).expect("end of file"), 0);
    }
}

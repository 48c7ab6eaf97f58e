//! Signs of life between rank 0 and each other rank, and what happens when they stop.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::frame;
use crate::ending::Ending;
use crate::ring::Message;
use crate::{ParallelError, Result};

/// How often each side says that it is alive.
const EVERY: Duration = Duration::from_secs(5);
/// The silence after which the other side is taken for dead: its machine may be gone without closing anything.
const SILENCE: Duration = Duration::from_secs(60);
/// The longest reason, in bytes.
const LONGEST: u64 = 1 << 20;

/// What a message of the watch says.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Word {
    Alive = 101,
    Failed = 102,
    Done = 103,
}

/// The watch of one rank. Dropping it says that this rank's work is done, or why all work has ended.
pub(super) struct Watch {
    peers: Arc<Vec<Peer>>,
    ending: Arc<Ending>,
    /// Its end stops the signs of life.
    _beat: Sender<()>,
}

struct Peer {
    rank: usize,
    stream: Mutex<TcpStream>,
    /// Whether its silence means nothing any more.
    done: AtomicBool,
}

impl Peer {
    fn say(&self, word: Word, text: &str) -> io::Result<()> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let message = Message {
            kind: word as u8,
            bytes: text.as_bytes().to_vec(),
        };
        frame::write(&mut *stream, &message)
    }
}

impl Watch {
    /// Watches the ranks at the other ends of `control`: all of them on rank 0, rank 0 elsewhere.
    pub fn start(
        rank: usize,
        control: Vec<(usize, TcpStream)>,
        ending: Arc<Ending>,
    ) -> Result<Self> {
        let fail = |error| ParallelError::io("cannot watch the other ranks")(error);
        let mut peers = Vec::new();
        let mut readers = Vec::new();
        for (rank, stream) in control {
            stream.set_read_timeout(Some(SILENCE)).map_err(fail)?;
            // A reason is short; who does not take it is not waited for.
            stream.set_write_timeout(Some(EVERY)).map_err(fail)?;
            readers.push(stream.try_clone().map_err(fail)?);
            peers.push(Peer {
                rank,
                stream: Mutex::new(stream),
                done: AtomicBool::new(false),
            });
        }
        let peers = Arc::new(peers);
        for (index, stream) in readers.into_iter().enumerate() {
            let (peers, ending) = (Arc::clone(&peers), Arc::clone(&ending));
            let listen = move || listen(stream, &peers, index, &ending, rank == 0);
            spawn("watch", listen).map_err(fail)?;
        }
        let (beat, ended) = channel::<()>();
        let beating = Arc::clone(&peers);
        let signs = move || {
            while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                // Who cannot be written to is noticed by who listens to it.
                beating
                    .iter()
                    .for_each(|peer| drop(peer.say(Word::Alive, "")));
            }
        };
        spawn("signs-of-life", signs).map_err(fail)?;
        Ok(Self {
            peers,
            ending,
            _beat: beat,
        })
    }

    /// Tells everyone on the other ends why the work ends.
    pub fn tell(&self, reason: &str) {
        tell(&self.peers, reason);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let reason = self.ending.reason();
        for peer in self.peers.iter() {
            peer.done.store(true, Ordering::Release);
            // Whoever has gone already does not listen.
            let _ = match &reason {
                Some(reason) => peer.say(Word::Failed, reason),
                None => peer.say(Word::Done, ""),
            };
            let stream = peer.stream.lock().unwrap_or_else(PoisonError::into_inner);
            // What was written still arrives; the thread that listens here wakes.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new()
        .name(name.into())
        .spawn(work)
        .map(drop)
}

fn tell(peers: &[Peer], reason: &str) {
    for peer in peers {
        // Who is gone needs no reason.
        let _ = peer.say(Word::Failed, reason);
    }
}

/// Listens to one peer until it is done or gone; rank 0 passes on what it hears.
fn listen(mut stream: TcpStream, peers: &[Peer], index: usize, ending: &Ending, passes_on: bool) {
    let peer = &peers[index];
    let reason = loop {
        match frame::read(&mut stream, LONGEST) {
            Ok(message) if message.kind == Word::Alive as u8 => {}
            Ok(message) if message.kind == Word::Failed as u8 => {
                break String::from_utf8_lossy(&message.bytes).into_owned();
            }
            Ok(_) => {
                peer.done.store(true, Ordering::Release);
                return;
            }
            Err(_) if peer.done.load(Ordering::Acquire) => return,
            Err(error) => break gone(peer.rank, &error),
        }
    };
    // First the others: as soon as it has ended here, this process may be gone.
    if passes_on && ending.reason().is_none() {
        tell(peers, &reason);
    }
    ending.end(&reason);
}

fn gone(rank: usize, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!(
            "rank {rank} has given no sign of life for {} seconds: its machine or the network to it is gone, or it was \
             stopped",
            SILENCE.as_secs()
        ),
        _ => format!(
            "rank {rank} is gone without a word: it was killed, or ran out of memory; what it printed last may tell"
        ),
    }
}

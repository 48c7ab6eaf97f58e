//! How ranks find each other.
//!
//! Every rank opens a port for the one before it. All but rank 0 connect to rank 0 and say who they are and which port
//! that is; when all are there, rank 0 tells each the address of the next.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::frame;
use crate::ring::Message;
use crate::{Launch, ParallelError, Result};

/// Time between two looks for a rank that has not come.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Time between two attempts to reach rank 0, and to name those that are missing.
const TRY_EVERY: Duration = Duration::from_millis(200);
const TELL_EVERY: Duration = Duration::from_secs(10);
/// Who connects has to say at once who it is.
const WORD_WITHIN: Duration = Duration::from_secs(10);
/// No meeting takes a year.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 3600);
/// Missing ranks that are named; there may be thousands.
const NAMED: usize = 8;
/// The longest message of a meeting, in bytes.
const LONGEST: u64 = 4096;

const HELLO: u8 = 201;
const WELCOME: u8 = 202;
const REFUSED: u8 = 203;
const NEIGHBOUR: u8 = 204;

/// What ranks of different versions would send each other may differ.
const VERSION: &str = concat!("fourfold ", env!("CARGO_PKG_VERSION"));

/// Connections to all others on rank 0, to rank 0 elsewhere.
pub(super) type Control = Vec<(usize, TcpStream)>;

/// A rank's connections.
pub(super) struct Met {
    pub next: TcpStream,
    pub before: TcpStream,
    pub control: Control,
}

/// Waits for something up to a moment, and tells now and then.
struct Patience<'a> {
    end: Instant,
    next_word: Instant,
    whole: Duration,
    tell: &'a mut dyn FnMut(&str),
}

impl<'a> Patience<'a> {
    fn new(whole: Duration, tell: &'a mut dyn FnMut(&str)) -> Self {
        let now = Instant::now();
        let whole = whole.min(LONGEST_WAIT);
        Self {
            end: now + whole,
            next_word: now + TELL_EVERY,
            whole,
            tell,
        }
    }

    /// Waits a little, unless it is over.
    fn wait(&mut self, time: Duration, waiting: impl Fn() -> String) -> Result<()> {
        let now = Instant::now();
        if now >= self.end {
            return Err(ParallelError::meeting(format!(
                "{} did not come within {} seconds; see that all ranks were started, with the same numbers and the \
                 same MASTER_ADDR and MASTER_PORT, and that the network lets them through",
                waiting(),
                self.whole.as_secs()
            )));
        }
        if now >= self.next_word {
            self.next_word = now + TELL_EVERY;
            let left = (self.end - now).as_secs();
            (self.tell)(&format!(
                "waiting for {} (for {left} more seconds)",
                waiting()
            ));
        }
        thread::sleep(time);
        Ok(())
    }
}

pub(super) fn meet(launch: &Launch, patience: Duration, tell: &mut dyn FnMut(&str)) -> Result<Met> {
    let mut patience = Patience::new(patience, tell);
    let own = listen(0).map_err(ParallelError::io("cannot open a port for other ranks"))?;
    let (next, control) = match launch.rank {
        0 => gather(launch, &own, &mut patience)?,
        _ => join(launch, &own, &mut patience)?,
    };
    let next_rank = (launch.rank + 1) % launch.ranks;
    let to_next = TcpStream::connect(next).and_then(|mut stream| {
        frame::write(&mut stream, &word(NEIGHBOUR, &launch.rank.to_string()))?;
        Ok(stream)
    });
    let to_next = to_next.map_err(ParallelError::io(format!(
        "rank {} cannot connect to rank {next_rank} at {next}",
        launch.rank
    )))?;
    let before = accept_neighbour(launch, &own, &control, &mut patience)?;
    for stream in [&to_next, &before]
        .into_iter()
        .chain(control.iter().map(|(_, stream)| stream))
    {
        let ready = stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(None));
        ready.map_err(ParallelError::io("cannot set up a connection"))?;
    }
    Ok(Met {
        next: to_next,
        before,
        control,
    })
}

/// A port for both kinds of addresses, where the system has both.
fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
        .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
}

fn word(kind: u8, text: &str) -> Message {
    let bytes = text.as_bytes().to_vec();
    Message { kind, bytes }
}

/// The text of the next message, if it comes at once and is of `kind`.
fn hear(stream: &mut TcpStream, kind: u8) -> Option<String> {
    stream.set_read_timeout(Some(WORD_WITHIN)).ok()?;
    let message = frame::read(stream, LONGEST).ok()?;
    let text = String::from_utf8(message.bytes).ok()?;
    (message.kind == kind).then_some(text)
}

fn port_of(listener: &TcpListener) -> Result<u16> {
    let address = listener.local_addr();
    let fail = ParallelError::io("cannot tell the port of a connection");
    address.map(|address| address.port()).map_err(fail)
}

/// What a rank says of itself.
struct Hello {
    rank: usize,
    ranks: usize,
    /// Where the rank before it connects to it.
    port: u16,
}

impl Hello {
    fn write(&self) -> String {
        let Self { rank, ranks, port } = self;
        format!("{VERSION}\n{rank}\n{ranks}\n{port}")
    }

    /// # Errors
    /// Why it cannot join, for both sides to tell.
    fn read(text: &str, launch: &Launch, is_there: impl Fn(usize) -> bool) -> Result<Self, String> {
        let mut lines = text.lines();
        let version = lines.next().unwrap_or_default();
        if version != VERSION {
            return Err(format!(
                "it runs {version}, rank 0 runs {VERSION}; start the same program everywhere"
            ));
        }
        let mut number = || lines.next().and_then(|line| line.parse::<usize>().ok());
        let (Some(rank), Some(ranks), Some(port)) = (number(), number(), number()) else {
            return Err("it did not say which rank it is".into());
        };
        if ranks != launch.ranks || rank == 0 || rank >= ranks {
            return Err(format!(
                "it is rank {rank} of {ranks}, but rank 0 waits for the others of {}; two jobs may use one port: give \
                 each its own in MASTER_PORT",
                launch.ranks
            ));
        }
        if is_there(rank) {
            return Err(format!(
                "there is a rank {rank} already; two jobs may use one port: give each its own in MASTER_PORT"
            ));
        }
        let port = port.try_into().map_err(|_| "it named no port".to_owned())?;
        Ok(Self { rank, ranks, port })
    }
}

/// Connections to a port, from which a word of one kind is expected. Each is listened to on a thread of its own: one that
/// says nothing, of a port scanner perhaps, holds up no other.
struct Callers<'l> {
    listener: &'l TcpListener,
    kind: u8,
    heard: (Sender<Caller>, Receiver<Caller>),
}

/// A connection, where it comes from and what it said.
type Caller = (TcpStream, SocketAddr, String);

impl<'l> Callers<'l> {
    fn new(listener: &'l TcpListener, kind: u8) -> Result<Self> {
        let set = listener.set_nonblocking(true);
        set.map_err(ParallelError::io(NOT_WAITING))?;
        Ok(Self {
            listener,
            kind,
            heard: channel(),
        })
    }

    /// Waits for the next that says such a word; what else connects is not answered. `check` is asked now and then
    /// whether to go on.
    fn next(
        &self,
        patience: &mut Patience<'_>,
        waiting: impl Fn() -> String,
        check: impl Fn() -> Result<()>,
    ) -> Result<Caller> {
        loop {
            match self.listener.accept() {
                Ok((stream, from)) => {
                    let from = SocketAddr::new(from.ip().to_canonical(), from.port());
                    self.listen_to(stream, from)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if let Ok(caller) = self.heard.1.try_recv() {
                        return Ok(caller);
                    }
                    check()?;
                    patience.wait(LOOK_EVERY, &waiting)?;
                }
                Err(error) => return Err(ParallelError::io(NOT_WAITING)(error)),
            }
        }
    }

    fn listen_to(&self, mut stream: TcpStream, from: SocketAddr) -> Result<()> {
        let (kind, heard) = (self.kind, self.heard.0.clone());
        let listen = move || {
            if stream.set_nonblocking(false).is_ok()
                && let Some(text) = hear(&mut stream, kind)
            {
                // Nobody waits any more once all are there.
                let _ = heard.send((stream, from, text));
            }
        };
        let spawned = thread::Builder::new().name("caller".into()).spawn(listen);
        spawned.map(drop).map_err(ParallelError::io(NOT_WAITING))
    }
}

const NOT_WAITING: &str = "cannot wait for other ranks";

/// Demands that nobody has closed these connections to ranks.
fn demand_there<'s>(streams: impl Iterator<Item = (usize, &'s TcpStream)>) -> Result<()> {
    for (rank, stream) in streams {
        let looked = stream.set_nonblocking(true).and_then(|()| {
            let looked = stream.peek(&mut [0]);
            stream.set_nonblocking(false)?;
            looked
        });
        let gone = match looked {
            Ok(bytes) => bytes == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        };
        if gone {
            return Err(ParallelError::meeting(format!(
                "rank {rank} is gone before all ranks had met; see what it said"
            )));
        }
    }
    Ok(())
}

/// Waits for the rank before this one.
fn accept_neighbour(
    launch: &Launch,
    own: &TcpListener,
    control: &Control,
    patience: &mut Patience<'_>,
) -> Result<TcpStream> {
    let before = (launch.rank + launch.ranks - 1) % launch.ranks;
    let callers = Callers::new(own, NEIGHBOUR)?;
    loop {
        let waiting = || format!("rank {before}, which was there a moment ago,");
        let all_are_there = || demand_there(control.iter().map(|(rank, stream)| (*rank, stream)));
        let (stream, _, name) = callers.next(patience, waiting, all_are_there)?;
        if name == before.to_string() {
            return Ok(stream);
        }
    }
}

/// Another rank: asks rank 0 where the next one is.
fn join(
    launch: &Launch,
    own: &TcpListener,
    patience: &mut Patience<'_>,
) -> Result<(SocketAddr, Control)> {
    let (rank, ranks) = (launch.rank, launch.ranks);
    let place = format!("{}:{}", launch.host, launch.port);
    let mut stream = loop {
        let mut failed = String::new();
        match reach(&launch.host, launch.port) {
            Ok(stream) => break stream,
            // It may not have been started yet, nor its name be known.
            Err(error) => failed += &error.to_string(),
        }
        patience.wait(TRY_EVERY, || format!("rank 0 at {place} ({failed})"))?;
    };
    let broke = || ParallelError::io(format!("rank 0 at {place} was there and is gone"));
    let hello = Hello {
        rank,
        ranks,
        port: port_of(own)?,
    };
    frame::write(&mut stream, &word(HELLO, &hello.write())).map_err(broke())?;
    // The others may still have to come.
    let remaining = patience.end.saturating_duration_since(Instant::now()) + WORD_WITHIN;
    stream.set_read_timeout(Some(remaining)).map_err(broke())?;
    let stranger = || {
        ParallelError::meeting(format!(
            "what answers at {place} is no rank of Fourfold; give all ranks a free port in MASTER_PORT"
        ))
    };
    let answer = frame::read(&mut stream, LONGEST).map_err(|error| match error.kind() {
        ErrorKind::InvalidData => stranger(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut => ParallelError::meeting(format!(
            "rank 0 at {place} did not answer within {} seconds; see that it is one, and that all others were started",
            patience.whole.as_secs()
        )),
        _ => broke()(error),
    })?;
    let text = String::from_utf8_lossy(&answer.bytes).into_owned();
    match answer.kind {
        WELCOME => {}
        REFUSED => {
            return Err(ParallelError::meeting(format!(
                "rank 0 at {place} refused rank {rank}: {text}"
            )));
        }
        _ => return Err(stranger()),
    }
    let there = stream.peer_addr().map_err(broke())?.ip();
    let next = read_place(&text, there).ok_or_else(|| {
        ParallelError::meeting(format!("rank 0 at {place} sent '{text}' for an address"))
    })?;
    Ok((next, vec![(0, stream)]))
}

fn reach(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, WORD_WITHIN) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Rank 0: waits for all others and tells each where the next one is; gives the address of rank 1.
fn gather(
    launch: &Launch,
    own: &TcpListener,
    patience: &mut Patience<'_>,
) -> Result<(SocketAddr, Control)> {
    let port = launch.port;
    let listener = listen(port).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => ParallelError::meeting(format!(
            "port {port}, where rank 0 is to wait for the others, is taken on this machine, by another job perhaps; give \
             all ranks a free one in MASTER_PORT"
        )),
        _ => ParallelError::io(format!("rank 0 cannot wait at port {port}"))(error),
    })?;
    let callers = Callers::new(&listener, HELLO)?;
    let mut come = Come::new();
    while come.len() + 1 < launch.ranks {
        if let Err(error) = admit(launch, &callers, &mut come, patience) {
            // Those that are there are told, too.
            let reason = error.to_string();
            for (mut stream, _) in come.into_values() {
                let _ = frame::write(&mut stream, &word(REFUSED, &reason));
            }
            return Err(error);
        }
    }
    let first = come[&1].1;
    // The last one's next is rank 0 itself.
    let mut next = format!(":{}", port_of(own)?);
    let mut control = Control::new();
    for (rank, (mut stream, address)) in come.into_iter().rev() {
        frame::write(&mut stream, &word(WELCOME, &next)).map_err(ParallelError::io(format!(
            "rank {rank} was there and is gone"
        )))?;
        next = place(&address);
        control.push((rank, stream));
    }
    Ok((first, control))
}

/// Ranks that have come, and where the one before each connects to it.
type Come = BTreeMap<usize, (TcpStream, SocketAddr)>;

/// Waits for one more rank.
fn admit(
    launch: &Launch,
    callers: &Callers<'_>,
    come: &mut Come,
    patience: &mut Patience<'_>,
) -> Result<()> {
    let waiting = || {
        let mut missing = (1..launch.ranks).filter(|rank| !come.contains_key(rank));
        let named: Vec<String> = missing
            .by_ref()
            .take(NAMED)
            .map(|r| r.to_string())
            .collect();
        let more = match missing.count() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let (ranks, port) = (launch.ranks, launch.port);
        format!("rank {}{more} of {ranks} at port {port}", named.join(", "))
    };
    let check = || demand_there(come.iter().map(|(rank, (stream, _))| (*rank, stream)));
    let (mut stream, from, hello) = callers.next(patience, waiting, check)?;
    match Hello::read(&hello, launch, |rank| come.contains_key(&rank)) {
        Ok(hello) => {
            let address = SocketAddr::new(from.ip(), hello.port);
            come.insert(hello.rank, (stream, address));
            Ok(())
        }
        Err(reason) => {
            let _ = frame::write(&mut stream, &word(REFUSED, &reason));
            Err(ParallelError::meeting(format!(
                "{from} wanted to join: {reason}"
            )))
        }
    }
}

/// Where a rank is, for another to read. One on the machine of rank 0, which that machine knows by a name for itself
/// alone, is where rank 0 is.
fn place(address: &SocketAddr) -> String {
    match address.ip().is_loopback() {
        true => format!(":{}", address.port()),
        false => address.to_string(),
    }
}

/// What [`place`] wrote; rank 0 is at `there`.
fn read_place(text: &str, there: IpAddr) -> Option<SocketAddr> {
    match text.strip_prefix(':') {
        Some(port) => Some(SocketAddr::new(there, port.parse().ok()?)),
        None => text.parse().ok(),
    }
}

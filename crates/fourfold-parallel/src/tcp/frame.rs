//! Messages on a stream: a kind, a length, that many bytes.

use std::io::{self, Read, Write};

use crate::ring::Message;

/// Kind, and length in the byte order of the network.
const HEADER: usize = 9;

pub(super) fn write(stream: &mut impl Write, message: &Message) -> io::Result<()> {
    let mut header = [message.kind; HEADER];
    header[1..].copy_from_slice(&(message.bytes.len() as u64).to_be_bytes());
    stream.write_all(&header)?;
    stream.write_all(&message.bytes)?;
    stream.flush()
}

/// The next message, of at most `most` bytes: what is no frame must not ask for all memory.
pub(super) fn read(stream: &mut impl Read, most: u64) -> io::Result<Message> {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header)?;
    let [kind, length @ ..] = header;
    let length = u64::from_be_bytes(length);
    if length > most {
        let message = format!("a message of {length} bytes where at most {most} were expected");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let mut bytes = vec![0; length as usize];
    stream.read_exact(&mut bytes)?;
    Ok(Message { kind, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_goes_through_whole_or_not_at_all() {
        let message = Message {
            kind: 3,
            bytes: (0..=255).collect(),
        };
        let mut stream = Vec::new();
        write(&mut stream, &message).unwrap();
        assert_eq!(read(&mut &*stream, 256).unwrap(), message);
        assert!(read(&mut &*stream, 255).is_err());
        for cut in 0..stream.len() {
            assert!(read(&mut &stream[..cut], 256).is_err(), "{cut}");
        }
    }
}

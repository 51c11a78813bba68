//! A client's socket, with TLS or without, and how it moves from one worker's runtime to another's. Knows no WebSocket and no HTTP.

use std::io::{self, IoSlice, Write};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A connected socket.
pub(super) enum Socket {
    /// As it is.
    Plain(TcpStream),
    /// Behind TLS; boxed, since its state is larger than all else that a connection keeps.
    Tls(Box<Tls>),
}

impl Socket {
    /// A second descriptor, through which others may write whole frames. None where TLS stands between, whose state is its task's, or
    /// the system has no more of them.
    pub(super) fn lend(&self) -> Option<std::net::TcpStream> {
        match self {
            Self::Plain(tcp) => tcp.as_fd().try_clone_to_owned().ok().map(Into::into),
            Self::Tls(_) => None,
        }
    }

    /// Takes it off this runtime.
    ///
    /// # Errors
    /// Where the system refuses; the socket is closed then.
    pub(super) fn pack(self) -> io::Result<Packed> {
        Ok(match self {
            Self::Plain(tcp) => Packed::Plain(tcp.into_std()?),
            Self::Tls(mut tls) => {
                let tcp = tls.stream.get_mut().0.0.take().ok_or(io::ErrorKind::NotConnected)?;
                Packed::Tls(tls, tcp.into_std()?)
            }
        })
    }

    /// What the peer was not sent yet though a write said so: TLS encrypts more than a full socket takes.
    pub(super) fn has_unsent(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.stream.get_ref().1.wants_write(),
        }
    }

    /// Writes what the socket takes at once, for last words that nobody waits for.
    pub(super) fn try_write(&mut self, bytes: &[u8]) {
        match self {
            Self::Plain(tcp) => {
                let _ = tcp.try_write(bytes);
            }
            Self::Tls(tls) => {
                let _ = tls.stream.get_mut().1.writer().write(bytes);
                tls.send_now();
            }
        }
    }
}

/// A socket between two runtimes.
pub(super) enum Packed {
    Plain(std::net::TcpStream),
    Tls(Box<Tls>, std::net::TcpStream),
}

impl Packed {
    /// Brings it to this runtime.
    ///
    /// # Errors
    /// Where the system refuses.
    pub(super) fn unpack(self) -> io::Result<Socket> {
        Ok(match self {
            Self::Plain(tcp) => Socket::Plain(TcpStream::from_std(tcp)?),
            Self::Tls(mut tls, tcp) => {
                tls.stream.get_mut().0.0 = Some(TcpStream::from_std(tcp)?);
                Socket::Tls(tls)
            }
        })
    }
}

/// The TCP connection below TLS, absent while it moves.
pub(super) struct Below(Option<TcpStream>);

impl Below {
    pub(super) fn new(tcp: TcpStream) -> Self {
        Self(Some(tcp))
    }

    fn get(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.0.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

/// A TLS session on its connection. Dropped, it says goodbye: to a client that checks, silence is an attack.
pub(super) struct Tls {
    stream: TlsStream<Below>,
}

impl Tls {
    pub(super) fn new(stream: TlsStream<Below>) -> Self {
        Self { stream }
    }

    /// Sends what is encrypted as far as the socket takes it without waiting.
    fn send_now(&mut self) {
        struct Now<'a>(&'a TcpStream);
        impl Write for Now<'_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.try_write(bytes)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (below, session) = self.stream.get_mut();
        let Some(tcp) = &below.0 else { return };
        while session.wants_write() && session.write_tls(&mut Now(tcp)).is_ok_and(|n| n > 0) {}
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.stream.get_mut().1.send_close_notify();
        self.send_now();
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(&mut tls.stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    /// Takes nothing before what TLS holds is sent, so that its buffer does not hide a full socket.
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Tls(tls) => {
                ready!(Pin::new(&mut tls.stream).poll_flush(cx))?;
                Pin::new(&mut tls.stream).poll_write(cx, bytes)
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, parts),
            Self::Tls(tls) => {
                ready!(Pin::new(&mut tls.stream).poll_flush(cx))?;
                Pin::new(&mut tls.stream).poll_write_vectored(cx, parts)
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(_) => Poll::Ready(Ok(())), // TCP keeps nothing back here
            Self::Tls(tls) => Pin::new(&mut tls.stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(&mut tls.stream).poll_shutdown(cx),
        }
    }
}

impl AsyncRead for Below {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.get_mut().get()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Below {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().get()?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().get()?.poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().get()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().get()?.poll_shutdown(cx)
    }
}

//! A way to a server on which everybody waits: a gate that is closed until it is opened.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A gate on a free port of loopback.
pub struct Gate {
    addr: SocketAddr,
    opener: watch::Sender<bool>,
}

impl Gate {
    /// A closed gate before `target`: what connects waits.
    ///
    /// # Panics
    ///
    /// When no port is free.
    pub async fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let addr = listener
            .local_addr()
            .expect("a bound socket has an address");
        let (opener, is_open) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut is_open = is_open.clone();
                tokio::spawn(async move {
                    if is_open.wait_for(|open| *open).await.is_ok()
                        && let Ok(mut server) = TcpStream::connect(target).await
                    {
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self { addr, opener }
    }

    /// Where to connect instead of the server.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Lets everybody through.
    pub fn open(&self) {
        self.opener.send_replace(true);
    }
}

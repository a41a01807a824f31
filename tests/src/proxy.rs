//! A link that can be cut: a TCP proxy between a program and a server.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// How the link behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// Everything goes through.
    Up,
    /// Nothing does: what is open closes, what comes is refused.
    Cut,
    /// The server hears what is said, but no answer comes back; the first answer closes the connection.
    Mute,
    /// Nothing arrives on either side, and nothing closes.
    Held,
}

/// A proxy on a free port of loopback. Dropping it cuts the link for good.
pub struct Proxy {
    addr: SocketAddr,
    link: Arc<watch::Sender<Link>>,
    task: AbortHandle,
}

impl Proxy {
    /// Starts a link to `target`.
    ///
    /// # Panics
    ///
    /// When no port is free.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let addr = listener
            .local_addr()
            .expect("a bound socket has an address");
        let link = Arc::new(watch::Sender::new(Link::Up));
        let heard = Arc::clone(&link);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, target, heard.subscribe()));
            }
        });
        Self {
            addr,
            link,
            task: task.abort_handle(),
        }
    }

    /// Where to connect instead of the server.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Closes what is open and refuses what comes.
    pub fn cut(&self) {
        self.link.send_replace(Link::Cut);
    }

    /// Lets requests through and swallows their answers: whoever asked cannot know what became of it.
    pub fn mute(&self) {
        self.link.send_replace(Link::Mute);
    }

    /// Swallows everything in both directions and closes nothing, as a switch without power: neither side is told.
    pub fn hold(&self) {
        self.link.send_replace(Link::Held);
    }

    /// Everything goes through again, for new connections.
    pub fn restore(&self) {
        self.link.send_replace(Link::Up);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.task.abort();
    }
}

async fn serve(mut client: TcpStream, target: SocketAddr, mut link: watch::Receiver<Link>) {
    let now = *link.borrow_and_update();
    match now {
        Link::Cut => return,
        Link::Held => return until_let_go(&mut link).await,
        Link::Up | Link::Mute => {}
    }
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let changed = {
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut server) => None,
            _ = link.changed() => Some(*link.borrow_and_update()),
        }
    };
    match changed {
        Some(Link::Mute) => swallow_one_answer(&mut client, &mut server, &mut link).await,
        Some(Link::Held) => until_let_go(&mut link).await,
        Some(Link::Up | Link::Cut) | None => {}
    }
}

async fn until_let_go(link: &mut watch::Receiver<Link>) {
    // An error means that the proxy is gone, and everything closes with it.
    let _ = link.wait_for(|link| *link != Link::Held).await;
}

/// Passes on what the client says until the server answers; then both are closed.
async fn swallow_one_answer(
    client: &mut TcpStream,
    server: &mut TcpStream,
    link: &mut watch::Receiver<Link>,
) {
    let (mut said, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut said) => match read {
                Ok(length) if length > 0 && server.write_all(&said[..length]).await.is_ok() => {}
                _ => return,
            },
            _ = server.read(&mut answered) => return,
            _ = link.changed() => return,
        }
    }
}

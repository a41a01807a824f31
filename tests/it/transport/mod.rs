//! What lies between the network and the router: TLS, limits, proxies, browsers, and whoever sends what no client would.

mod attacks;
mod browsers;
mod limits;
mod tls;

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use warren_tests::{Builder, House, wait};

/// A house of one API node with these settings, and no worker.
async fn house(settings: &[(&str, &str)]) -> House {
    let mut house = Builder::new().apis(0).workers(0).build().await;
    house.add_api_via(house.database.server, settings).await;
    house
}

/// Says these very bytes on a connection of their own; what comes back until it closes.
async fn exchange(node: SocketAddr, said: &[u8]) -> String {
    let stream = TcpStream::connect(node).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let talk = async {
        // A node that has heard enough closes while the rest is being said.
        let (_said, heard) = tokio::join!(writer.write_all(said), until_closed(&mut reader));
        heard
    };
    let heard = tokio::time::timeout(wait::LIMIT, talk).await;
    heard.expect("the node closes the connection")
}

/// What comes until the connection closes, however it does.
async fn until_closed(reader: &mut (impl AsyncRead + Unpin)) -> String {
    let mut heard = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(length @ 1..) = reader.read(&mut piece).await {
        heard.extend_from_slice(&piece[..length]);
    }
    String::from_utf8_lossy(&heard).into_owned()
}

/// The status of an answer as it came; 0 when none did.
fn status(answer: &str) -> u16 {
    let status = answer.strip_prefix("HTTP/1.1 ");
    let status = status.and_then(|rest| rest.get(..3)?.parse().ok());
    status.unwrap_or_default()
}

/// The lines of the head of an answer, behind the first.
fn head(answer: &str) -> Vec<String> {
    let (head, _body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    head.lines().skip(1).map(str::to_lowercase).collect()
}

//! The S3 server of the local stack and of the tests: `s3s` over a folder, on loopback.
//!
//! Warren itself only ever speaks S3 through its client. This server stands where a real object
//! store stands in production, so it checks signatures like one. It is no place for data that
//! matters: whoever can read the folder can read every object.
//!
//! A bucket is a folder below the server's folder. Stopping a server and starting another on the
//! same address and folder is how a test takes the object store away and gives it back.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// The region the server answers for. `s3s` checks signatures for whatever region the client
/// signed with, so this is a default for clients and no setting of the server.
pub const REGION: &str = "local";

/// What a server needs to know before it starts.
#[derive(Clone)]
pub struct S3Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The folder that holds the buckets; made when it is missing.
    pub dir: PathBuf,
    /// The one access key that may sign requests.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// Buckets to make when they are missing.
    pub buckets: Vec<String>,
}

/// A running server. Dropping it closes the listener and every open connection.
#[derive(Debug)]
pub struct S3Server {
    addr: SocketAddr,
    task: JoinHandle<()>,
}

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// A name that S3 does not allow for a bucket, or that would leave the folder.
    #[error(
        "bucket name {0:?} is not usable: 3 to 63 lower-case letters, digits, '-' and '.', \
         beginning and ending with a letter or a digit"
    )]
    BucketName(String),
    /// The folder or a bucket in it could not be made.
    #[error("cannot use the folder {}", dir.display())]
    Folder {
        /// The folder that was asked for.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The store refused the folder.
    #[error("cannot open the folder {} as an object store: {message}", dir.display())]
    Store {
        /// The folder that was asked for.
        dir: PathBuf,
        /// What the store said.
        message: String,
    },
    /// The address could not be listened on.
    #[error("cannot listen on {listen}")]
    Listen {
        /// The address that was asked for.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

impl S3Server {
    /// Makes the folder and its buckets, listens, and serves until the server is dropped.
    pub async fn start(config: S3Config) -> Result<Self, S3Error> {
        for bucket in &config.buckets {
            make_bucket(&config.dir, bucket)?;
        }
        let service = service(&config)?;
        let listener = TcpListener::bind(config.listen).await;
        let (listener, addr) = listener
            .and_then(|listener| listener.local_addr().map(|addr| (listener, addr)))
            .map_err(|source| S3Error::Listen {
                listen: config.listen,
                source,
            })?;
        Ok(Self {
            addr,
            task: tokio::spawn(serve(listener, service)),
        })
    }

    /// The address it listens on, with the port it was given.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What a client's endpoint setting should say. Clients must use path-style addressing.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Closes the listener and every connection, and returns when the port is free again.
    pub async fn stop(mut self) {
        self.task.abort();
        // The only error an aborted task gives is that it was aborted.
        let _ = (&mut self.task).await;
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Makes a bucket in a server's folder; it is there for requests at once, also while one runs.
pub fn make_bucket(dir: &Path, bucket: &str) -> Result<(), S3Error> {
    if !is_bucket_name(bucket) {
        return Err(S3Error::BucketName(bucket.to_owned()));
    }
    std::fs::create_dir_all(dir.join(bucket)).map_err(|source| S3Error::Folder {
        dir: dir.to_owned(),
        source,
    })
}

fn is_bucket_name(name: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (3..=63).contains(&name.len())
        && name.chars().all(|c| word(c) || c == '-' || c == '.')
        && name.starts_with(word)
        && name.ends_with(word)
        && !name.contains("..")
}

fn service(config: &S3Config) -> Result<S3Service, S3Error> {
    std::fs::create_dir_all(&config.dir).map_err(|source| S3Error::Folder {
        dir: config.dir.clone(),
        source,
    })?;
    let files = FileSystem::new(&config.dir).map_err(|error| S3Error::Store {
        dir: config.dir.clone(),
        message: format!("{error:?}"),
    })?;
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(
        config.access_key.as_str(),
        config.secret_key.as_str(),
    ));
    Ok(builder.build())
}

/// Accepts for ever. The connections live in a set of this task's own, so that ending the task
/// ends them too.
async fn serve(listener: TcpListener, service: S3Service) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Small answers must not wait for the client's delayed acknowledgement. A
                    // socket that refuses is gone already, and serving it will say so.
                    let _ = stream.set_nodelay(true);
                    let connection = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .serve_connection(TokioIo::new(stream), service.clone());
                    connections.spawn(async move {
                        if let Err(error) = connection.await {
                            tracing::debug!(%error, "an S3 connection ended early");
                        }
                    });
                }
                Err(error) => {
                    // Out of descriptors, usually: accepting again at once would only spin.
                    tracing::warn!(%error, "cannot accept an S3 connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_bucket_name;

    #[test]
    fn bucket_names_never_leave_the_folder() {
        for good in ["warren", "w-1.x", "abc"] {
            assert!(is_bucket_name(good), "{good}");
        }
        for bad in [
            "",
            "ab",
            "..",
            "a/b",
            "../up",
            "-ab",
            "Ab3",
            "a..b",
            &"x".repeat(64),
        ] {
            assert!(!is_bucket_name(bad), "{bad}");
        }
    }
}

//! A real directory: `slapd` of `OpenLDAP`, with a configuration, data and certificates of one test's own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::postgres::free_port;
use crate::process::Process;
use crate::wait;

/// What everything in the directory is below.
pub const BASE: &str = "dc=example,dc=org";
/// The account that may search.
pub const SERVICE: &str = "cn=warren,ou=services,dc=example,dc=org";
/// The password of every account in the directory, the service among them.
pub const PASSWORD: &str = "in the directory";

/// Who may change everything.
const ROOT: &str = "cn=root,dc=example,dc=org";

/// Where Debian keeps what is not on the path of ordinary users, and the parts of the server.
const PROGRAM: &str = "/usr/sbin/slapd";
const MODULES: &str = "/usr/lib/ldap";
const SCHEMAS: &str = "/etc/ldap/schema";

/// A running server on loopback. Dropping it kills it.
pub struct Slapd {
    dir: TempDir,
    plain: SocketAddr,
    encrypted: SocketAddr,
    process: Process,
}

impl Slapd {
    /// Starts one with a certificate for `localhost` and 127.0.0.1, and fills it from `slapd.ldif`.
    pub async fn start() -> Self {
        Self::start_as(&["localhost", "127.0.0.1"]).await
    }

    /// The same with a certificate for other names.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start_as(names: &[&str]) -> Self {
        let dir = TempDir::with_prefix("warren-slapd-").expect("a folder can be made");
        let issuer = authority();
        let (certificate, key) = certificate(&issuer, names);
        std::fs::create_dir(dir.path().join("data")).expect("a folder can be made");
        for (file, text) in [
            ("ca.pem", issuer.pem()),
            ("certificate.pem", certificate),
            ("key.pem", key),
            ("other-ca.pem", authority().pem()),
            ("slapd.conf", configuration(dir.path())),
        ] {
            std::fs::write(dir.path().join(file), text).expect("a file can be written");
        }
        // Somebody else may take a port between the look and the start: then others are tried.
        let slapd = loop {
            let [plain, encrypted] = [free_port().await, free_port().await]
                .map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
            let mut process = serve(dir.path(), plain, encrypted);
            if answers(&mut process, plain).await {
                break Self {
                    dir,
                    plain,
                    encrypted,
                    process,
                };
            }
            let printed = process.log_text();
            assert!(printed.contains("in use"), "slapd ended:\n{printed}");
        };
        slapd.change(include_str!("slapd.ldif")).await;
        slapd
    }

    /// Kills it.
    pub async fn crash(&mut self) {
        self.process.kill().await;
    }

    /// Starts it with what it held, after it was killed.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start_again(&mut self) {
        self.process = serve(self.dir.path(), self.plain, self.encrypted);
        let answers = answers(&mut self.process, self.plain).await;
        assert!(answers, "slapd ended:\n{}", self.process.log_text());
    }

    /// Where it speaks in the clear until `StartTLS`.
    pub fn plain(&self) -> SocketAddr {
        self.plain
    }

    /// Where it speaks TLS.
    pub fn encrypted(&self) -> SocketAddr {
        self.encrypted
    }

    /// The certificate of the authority that vouches for it.
    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// That of another one of the same name.
    pub fn other_ca(&self) -> PathBuf {
        self.dir.path().join("other-ca.pem")
    }

    /// Settings of an API node that asks it in the clear, as the account that may search.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("WARREN_LDAP_URL", format!("ldap://{}", self.plain)),
            ("WARREN_LDAP_BASE", format!("ou=people,{BASE}")),
            ("WARREN_LDAP_BIND_DN", SERVICE.to_owned()),
            ("WARREN_LDAP_BIND_PASSWORD", PASSWORD.to_owned()),
        ]
    }

    /// Adds, changes and removes entries, as LDIF says.
    ///
    /// # Panics
    ///
    /// When the server refuses it.
    pub async fn change(&self, ldif: &str) {
        let mut child = Command::new("ldapmodify")
            .args(["-a", "-x", "-H", &format!("ldap://{}", self.plain)])
            .args(["-D", ROOT, "-w", PASSWORD])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("ldapmodify runs");
        let mut input = child.stdin.take().expect("its input is ours");
        let written = input.write_all(ldif.as_bytes()).await;
        written.expect("it reads its input");
        drop(input);
        let ended = child.wait_with_output().await.expect("it ends");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{said}");
    }
}

fn serve(dir: &Path, plain: SocketAddr, encrypted: SocketAddr) -> Process {
    let conf = dir.join("slapd.conf");
    let listen = format!("ldap://{plain}/ ldaps://{encrypted}/");
    let args = ["-d", "none", "-f", &conf.to_string_lossy(), "-h", &listen];
    Process::start("slapd", Path::new(PROGRAM), &args, &[], &dir.join("log"))
}

/// Waits until a server answers; false when it has ended instead.
async fn answers(process: &mut Process, at: SocketAddr) -> bool {
    wait::until("slapd answers, or has ended", async || {
        let ended = (!process.is_running()).then_some(false);
        let answers = TcpStream::connect(at).await.ok().map(|_stream| true);
        ended.or(answers)
    })
    .await
}

fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    let schema = |name: &str| format!("include {SCHEMAS}/{name}.schema");
    let schemas = ["core", "cosine", "nis", "inetorgperson"].map(schema);
    let schemas = schemas.join("\n");
    format!(
        "{schemas}
# As many directories do: a bind without a password succeeds, as nobody.
allow bind_anon_cred bind_anon_dn
modulepath {MODULES}
moduleload back_mdb
moduleload memberof
pidfile {dir}/pid
TLSCACertificateFile {dir}/ca.pem
TLSCertificateFile {dir}/certificate.pem
TLSCertificateKeyFile {dir}/key.pem
database mdb
suffix \"{BASE}\"
directory {dir}/data
maxsize 16777216
rootdn \"{ROOT}\"
rootpw \"{PASSWORD}\"
overlay memberof
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact=\"{SERVICE}\" read by * none
"
    )
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(DnType::CommonName, "authority of a test");
    let key = KeyPair::generate().expect("a key can be made");
    CertifiedIssuer::self_signed(params, key).expect("a certificate can be made")
}

/// A certificate for these names and its key, as PEM.
fn certificate(issuer: &CertifiedIssuer<'static, KeyPair>, names: &[&str]) -> (String, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let params = CertificateParams::new(names).expect("the names are good ones");
    let key = KeyPair::generate().expect("a key can be made");
    let certificate = params.signed_by(&key, issuer);
    let certificate = certificate.expect("a certificate can be made");
    (certificate.pem(), key.serialize_pem())
}

//! What the sandbox refuses, tried from R as user code would.

mod driver;

use std::os::unix::net::UnixListener;
use std::path::Path;

use driver::{Parent, Session};
use warren_rhost::control::ProtectionState;
use warren_rhost::session::Ending;

fn session() -> (Parent, Session) {
    let mut parent = Parent::start();
    let session = parent.fork();
    (parent, session)
}

/// Runs code that must fail as an R error, and gives the console.
fn refused(session: &mut Session, code: &str) -> String {
    let answer = session.run(&format!("options(warn = 1); {code}"));
    assert!(
        matches!(answer.ending, Ending::Error { .. }),
        "{code}: {:?} {}",
        answer.ending,
        answer.console
    );
    answer.console
}

#[test]
fn files_of_others_cannot_be_read() {
    let (mut parent, mut session) = session();
    let mut other = parent.fork();
    other.console_of("cat('private', file = 'mine')");
    let outside = tempfile::NamedTempFile::new().unwrap();
    let paths = [
        "/etc/shadow".to_owned(),
        format!("/proc/{}/environ", std::process::id()),
        format!("/proc/{}/environ", parent.pid()),
        format!("/proc/{}/mem", other.pid),
        other.work().join("mine").display().to_string(),
        outside.path().display().to_string(),
        "/root/.profile".to_owned(),
    ];
    for path in paths {
        let console = refused(&mut session, &format!("readLines('{path}')"));
        assert!(console.contains("Permission denied"), "{path}: {console}");
    }
    for directory in [other.dir(), &other.work(), Path::new("/root")] {
        let code = format!("list.files('{}', all.files = TRUE)", directory.display());
        assert_eq!(session.console_of(&code), "character(0)\n");
    }
}

#[test]
fn nothing_can_be_written_outside() {
    let (mut parent, mut session) = session();
    let mut other = parent.fork();
    other.console_of("cat('mine', file = 'mine')");
    let theirs = other.work().display().to_string();
    let outside = tempfile::tempdir().unwrap();
    let outside = outside.path().display();
    for code in [
        format!("cat('x', file = '{outside}/x')"),
        format!("cat('x', file = '{theirs}/x')"),
        format!("cat('x', file = '{theirs}/mine')"),
        format!("stopifnot(file.remove('{theirs}/mine'))"),
        format!("stopifnot(file.link('{theirs}/mine', 'mine'))"),
        format!("stopifnot(file.symlink('{theirs}', 'way')); cat('x', file = 'way/x')"),
        format!("stopifnot(file.symlink('{theirs}/new', 'end')); cat('x', file = 'end')"),
        "cat('x', file = file.path(R.home('library'), 'x'))".to_owned(),
        "cat('x', file = '/tmp/warren-sandbox-test')".to_owned(),
        "stopifnot(file.symlink('/etc/shadow', 'link')); readLines('link')".to_owned(),
        "stopifnot(file.link('/etc/shadow', 'hard'))".to_owned(),
        format!("stopifnot(file.rename('x', '{outside}/x'))"),
        format!("stopifnot(dir.create('{outside}/d'))"),
    ] {
        refused(&mut session, &code);
    }
    assert_eq!(
        session.console_of("cat('x', file = 'x'); readLines('x', warn = FALSE)"),
        "[1] \"x\"\n"
    );
    assert_eq!(
        other.console_of("list.files(); readLines('mine', warn = FALSE)"),
        "[1] \"mine\"\n[1] \"mine\"\n"
    );
}

/// Landlock's first two versions let that pass.
#[test]
fn nothing_can_be_emptied_outside() {
    for abi in ["1", "2", "99"] {
        let mut parent = Parent::start_with(&["--landlock-abi", abi, "--uids", "off"]).unwrap();
        let mut session = parent.fork();
        let outside = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(outside.path(), "precious").unwrap();
        let by_path = format!(
            "truncate('{}', 0) ? print 'emptied' : print $!;",
            outside.path().display()
        );
        let said = perl(&mut session, &by_path);
        assert!(
            ["Operation not permitted", "Permission denied"].contains(&said.as_str()),
            "ABI {abi}: {said}"
        );
        assert_eq!(std::fs::read(outside.path()).unwrap(), b"precious");
        // A file that can be read and not written, as those of a library of the worker's user.
        session.console_of("cat('own', file = 'own')");
        let to_read =
            "use Fcntl; sysopen(my $f, 'own', O_RDONLY | O_TRUNC) ? print 'emptied' : print $!;";
        if abi != "99" {
            assert_eq!(perl(&mut session, to_read), "Operation not permitted");
        }
        assert_eq!(
            session
                .console_of("cat('long', file = 'own'); cat('s', file = 'own'); file.size('own')"),
            "[1] 1\n"
        );
    }
}

/// Perl makes the system call, since R has no function for it. What the kernel said.
#[expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]
fn perl(session: &mut Session, program: &str) -> String {
    std::fs::write(session.work().join("try.pl"), program).unwrap();
    session.console_of("system('perl -MSocket try.pl 2>&1')")
}

#[test]
fn no_socket_of_any_kind_is_to_be_had() {
    let (_parent, mut session) = session();
    // As PostgreSQL and RabbitMQ listen.
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    refused(
        &mut session,
        &format!("socketConnection('127.0.0.1', {port}, timeout = 5)"),
    );
    refused(&mut session, "serverSocket(0)");
    let _listener = UnixListener::bind(session.work().join("socket")).unwrap();
    for kind in [
        "AF_UNIX, SOCK_STREAM",
        "AF_UNIX, SOCK_DGRAM",
        "AF_INET, SOCK_STREAM",
        "AF_INET, SOCK_DGRAM",
        "AF_INET6, SOCK_STREAM",
        "AF_INET6, SOCK_DGRAM",
        // Netlink and packets.
        "16, SOCK_RAW",
        "17, SOCK_RAW",
    ] {
        let printed = perl(
            &mut session,
            &format!("socket(my $s, {kind}, 0) ? print 'open' : print $!;"),
        );
        assert_eq!(printed, "Operation not permitted", "{kind}");
    }
    // An end of such a pair can write to whatever has a path, the system's log for one.
    let datagrams = "socketpair(my $a, my $b, AF_UNIX, SOCK_DGRAM, 0) ? print 'open' : print $!;";
    assert_eq!(perl(&mut session, datagrams), "Operation not permitted");
    // What a program and its children use among themselves.
    let pair = "socketpair(my $a, my $b, AF_UNIX, SOCK_STREAM, 0) ? print 'open' : print $!;";
    assert_eq!(perl(&mut session, pair), "open");
}

#[test]
fn only_the_listed_ports_can_be_reached() {
    let server = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (one, two) = (server(), server());
    let port = |server: &std::net::TcpListener| server.local_addr().unwrap().port();
    let (listed, other) = (port(&one), port(&two));
    let connect =
        |port: u16| format!("close(socketConnection('127.0.0.1', {port}, timeout = 5)); 1");
    let ports = listed.to_string();
    let mut parent = Parent::start_with(&["--connect-ports", &ports]).unwrap();
    let mut session = parent.fork();
    assert_eq!(session.console_of(&connect(listed)), "[1] 1\n");
    refused(&mut session, "serverSocket(0)");
    let unix = "socket(my $s, AF_UNIX, SOCK_STREAM, 0) ? print 'open' : print $!;";
    assert_eq!(perl(&mut session, unix), "Operation not permitted");
    let bind = "socket(my $s, AF_INET, SOCK_STREAM, 0) or die; bind($s, sockaddr_in(0, INADDR_LOOPBACK)); listen($s, 1) ? print 'open' : print $!;";
    assert!(perl(&mut session, bind).contains("not permitted"));
    let network = |parent: &Parent| {
        let protections = parent.hello.protections.iter();
        protections
            .clone()
            .find(|one| one.name == "network")
            .unwrap()
            .state
    };
    if network(&parent) == ProtectionState::Active {
        let connect_to = format!(
            "socket(my $s, AF_INET, SOCK_STREAM, 0) or die; connect($s, sockaddr_in({other}, INADDR_LOOPBACK)) ? print 'open' : print $!;"
        );
        assert_eq!(perl(&mut session, &connect_to), "Permission denied");
    }
    // Landlock knows the ports of plain TCP, and looks at `connect()` only: nothing else may open a connection.
    let (mptcp, sctp, udp_lite, ping) = (262, 132, 136, 1);
    for (kind, protocol) in [
        ("SOCK_STREAM", mptcp),
        ("SOCK_STREAM", sctp),
        ("SOCK_DGRAM", udp_lite),
        ("SOCK_DGRAM", ping),
    ] {
        let socket =
            format!("socket(my $s, AF_INET, {kind}, {protocol}) ? print 'open' : print $!;");
        assert_eq!(
            perl(&mut session, &socket),
            "Operation not permitted",
            "{protocol}"
        );
    }
    let fast_open = format!(
        "socket(my $s, AF_INET, SOCK_STREAM, 0) or die; \
         send($s, 'x', 0x20000000, sockaddr_in({other}, INADDR_LOOPBACK)) ? print 'sent' : print $!;"
    );
    assert_eq!(perl(&mut session, &fast_open), "Operation not permitted");
    two.set_nonblocking(true).unwrap();
    assert!(
        two.accept().is_err(),
        "somebody came to a port that is not listed"
    );
    let mut older =
        Parent::start_with(&["--connect-ports", &ports, "--landlock-abi", "3"]).unwrap();
    assert_eq!(older.fork().console_of(&connect(other)), "[1] 1\n");
    assert_eq!(network(&older), ProtectionState::Weaker);
}

#[test]
fn other_processes_are_out_of_reach() {
    let (mut parent, mut session) = session();
    let other = parent.fork();
    let signals = parent
        .hello
        .protections
        .iter()
        .find(|one| one.name == "signals");
    for pid in [
        other.pid,
        parent.pid().cast_signed(),
        std::process::id().cast_signed(),
    ] {
        let answer = session.run(&format!("stopifnot(tools::pskill({pid}, 0))"));
        // As the worker's user and without Landlock's ABI 6 the kernel lets signals pass, and `doctor` says so.
        let refused = matches!(answer.ending, Ending::Error { .. });
        assert_eq!(refused, signals.unwrap().state == ProtectionState::Active);
    }
    let number = if cfg!(target_arch = "x86_64") {
        101
    } else {
        117
    };
    let attach = format!("syscall({number}, 16, {}, 0, 0); print $!;", other.pid);
    assert_eq!(perl(&mut session, &attach), "Operation not permitted");
    let printed = session.console_of("print(system('unshare -Ur true 2>/dev/null') != 0L)");
    assert_eq!(printed, "[1] TRUE\n");
}

/// Also without users of their own, where the kernel takes one session for the other.
#[test]
fn a_session_sets_no_limits_for_others() {
    let mut parent = Parent::start_with(&["--uids", "off"]).unwrap();
    let (mut session, other) = (parent.fork(), parent.fork());
    for pid in [other.pid, parent.pid().cast_signed()] {
        let set = format!("system('prlimit --pid {pid} --cpu=1:1 2>&1')");
        let said = session.console_of(&set);
        assert!(said.contains("Operation not permitted"), "{said}");
    }
    assert_eq!(
        session.console_of("system('ulimit -n 99; ulimit -n')"),
        "99\n"
    );
}

#[test]
fn nothing_is_left_in_the_kernel_that_outlives_a_session() {
    let (_parent, mut session) = session();
    for make in [
        "shmget(7, 1000, 01600)",
        "msgget(7, 01600)",
        "semget(7, 1, 01600)",
    ] {
        let program = format!("defined({make}) ? print 'made' : print $!;");
        assert_eq!(
            perl(&mut session, &program),
            "Operation not permitted",
            "{make}"
        );
    }
}

#[test]
fn the_worker_s_terminal_is_out_of_reach() {
    let (parent, mut session) = session();
    // `TIOCSTI`, which types for whoever sits there; of a pipe the kernel would say that it is no terminal.
    let typing = "my $key = 'x'; ioctl(STDOUT, 0x5412, $key) ? print 'typed' : print $!;";
    assert_eq!(perl(&mut session, typing), "Operation not permitted");
    let terminal = "open(my $t, '+<', '/dev/tty') ? print 'open' : print $!;";
    assert_ne!(perl(&mut session, terminal), "open");
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", session.pid)).unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(
        fields[3],
        parent.pid().to_string(),
        "the session that setsid() began"
    );
}

#[test]
fn resources_have_an_end() {
    let (_parent, mut session) = session();
    let answer = session.run("x <- numeric(1.3e9)");
    assert!(
        matches!(answer.ending, Ending::OutOfMemory { .. }),
        "{:?}",
        answer.ending
    );
    let printed = session.console_of("system('ulimit -c; ulimit -n')");
    assert_eq!(printed, "0\n4096\n");
    let printed = session.console_of("print(system('head -c 1100000000 /dev/zero > big 2>/dev/null') != 0L); file.size('big') <= 2^30");
    assert_eq!(printed, "[1] TRUE\n[1] TRUE\n");
    assert_eq!(session.console_of("unlink('big'); 1"), "[1] 1\n");
}

#[test]
fn what_r_needs_still_works() {
    let (_parent, mut session) = session();
    assert_eq!(
        session.console_of("parallel::detectCores() >= 1L"),
        "[1] TRUE\n"
    );
    assert_eq!(
        session.console_of("unlist(parallel::mclapply(1:2, function(i) i, mc.cores = 2))"),
        "[1] 1 2\n"
    );
    assert_eq!(
        session.console_of("system('echo works; ls /proc/self/fd >/dev/null')"),
        "works\n"
    );
    assert_eq!(
        session.console_of("nchar(format(Sys.time(), tz = 'Europe/Berlin')) > 0"),
        "[1] TRUE\n"
    );
    assert_eq!(session.run("plot(1)").changed_files, ["unnamedplot001.png"]);
    session.console_of("setwd(tempdir()); cat(1, file = 'x'); system('cp x y')");
}

#[test]
fn packages_can_be_installed_into_the_session() {
    let (_parent, mut session) = session();
    let code = "dir.create('demo/R', recursive = TRUE)
        writeLines(c('Package: demo', 'Version: 1.0', 'Title: D', 'Description: D.', 'License: GPL-2', 'Author: A', \
        'Maintainer: A <a@example.org>'), 'demo/DESCRIPTION')
        writeLines('export(f)', 'demo/NAMESPACE'); writeLines('f <- function() 42', 'demo/R/f.R')
        install.packages('demo', repos = NULL, type = 'source', quiet = TRUE)
        demo::f()";
    let printed = session.console_of(code);
    assert!(printed.ends_with("[1] 42\n"), "{printed}");
    assert!(session.work().join(".library/demo").is_dir());
}

#[test]
fn an_older_landlock_still_keeps_paths_shut() {
    let mut parent = Parent::start_with(&["--landlock-abi", "2"]).unwrap();
    let mut session = parent.fork();
    refused(&mut session, "readLines('/etc/shadow')");
    refused(&mut session, "cat('x', file = '/tmp/warren-sandbox-test')");
    assert_eq!(session.console_of("cat(1, file = 'x'); 1"), "[1] 1\n");
}

#[test]
fn the_sandbox_can_be_switched_off_and_only_by_name() {
    let mut parent = Parent::start_with(&["--sandbox=off"]).unwrap();
    let mut session = parent.fork();
    let outside = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(outside.path(), "open\n").unwrap();
    let printed = session.console_of(&format!("readLines('{}')", outside.path().display()));
    assert_eq!(printed, "[1] \"open\"\n");
    let message = Parent::start_with(&["--sandbox=no"]).err().unwrap();
    assert!(message.contains("`on` or `off`"), "{message}");
    let message = Parent::start_with(&["--landlock-abi", "0"]).err().unwrap();
    assert!(message.contains("needs Landlock"), "{message}");
}

//! The program that embeds libR and forks.
//!
//! A *parent* starts R once and forks a *child* per session; `docs/RHOST.md` tells the whole story.

mod args;
mod calls;
mod cgroups;
mod child;
mod console;
mod crash;
mod eval;
mod ffi;
mod files;
mod fork;
mod frames;
mod heap;
mod identity;
mod packets;
mod parent;
mod places;
mod run;
mod sandbox;
mod seccomp;
mod setup;
mod source;
mod start;
mod stream;
mod uids;
mod value;
mod workspace;

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use warren_rhost::control::FromParent;

use args::Args;
use child::Outfit;
use identity::Identities;
use packets::Room;
use sandbox::Sandbox;

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args_os().skip(1)) {
        Ok(args) => args,
        Err(message) => return refuse(io::stdin(), message),
    };
    if let Err(message) = start::die_with(args.worker_pid) {
        return refuse(io::stdin(), message);
    }
    start::leave_terminal();
    match start::started() {
        Ok(None) => refuse(io::stdin(), start::restart(&args)),
        Ok(Some(started)) => serve(&args, started),
        Err(error) => refuse(
            io::stdin(),
            format!("the control socket cannot be moved: {error}"),
        ),
    }
}

fn serve(args: &Args, started: start::Started) -> ExitCode {
    let start::Started {
        control,
        r_home,
        r_version,
    } = started;
    match prepare(args, &r_home, &r_version) {
        Ok((outfit, identities)) => {
            let room = Room::new();
            // For good: children use it until they end.
            let outfit: &'static Outfit = Box::leak(Box::new(outfit));
            heap::let_go_of_files();
            heap::close_gaps();
            let limit = args.tick_limit;
            match parent::serve(control, room, limit, r_version, outfit, identities) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            }
        }
        Err(message) => refuse(control, message),
    }
}

/// Everything a child will need, made once.
fn prepare(
    args: &Args,
    r_home: &Path,
    r_version: &str,
) -> Result<(Outfit, Option<Identities>), String> {
    let helpers = setup::start(r_home, r_version, &args.preload)?;
    setup::single_threaded(&args.preload)?;
    let bare = args.bare_forks;
    let Some(limits) = &args.sandbox else {
        let outfit = Outfit {
            helpers,
            sandbox: None,
            bare,
        };
        return Ok((outfit, None));
    };
    let identities = Identities::open(limits);
    let sandbox = Sandbox::prepare(limits, r_home, identities.has_users())?;
    sandbox
        .confine_parent()
        .map_err(|error| format!("the parent cannot be confined: {error}"))?;
    let outfit = Outfit {
        helpers,
        sandbox: Some(sandbox),
        bare,
    };
    Ok((outfit, Some(identities)))
}

fn refuse(control: impl AsFd, message: String) -> ExitCode {
    // A worker that cannot be told sees the end of the socket.
    let _ = packets::send(control, &FromParent::Refused { message }, &[]);
    ExitCode::FAILURE
}

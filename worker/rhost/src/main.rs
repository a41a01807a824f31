//! The program that embeds libR and forks.
//!
//! A *parent* starts R once and forks a *child* per session; `docs/RHOST.md` tells the whole story.

mod args;
mod child;
mod console;
mod eval;
mod ffi;
mod files;
mod fork;
mod frames;
mod packets;
mod parent;
mod processes;
mod run;
mod setup;
mod source;
mod start;
mod value;

use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;

use warren_rhost::control::FromParent;

use args::Args;

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args_os().skip(1)) {
        Ok(args) => args,
        Err(message) => return refuse(io::stdin(), message),
    };
    if let Err(message) = start::die_with(args.worker_pid) {
        return refuse(io::stdin(), message);
    }
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
    let helpers = setup::start(&r_home, &r_version, &args.preload)
        .and_then(|helpers| processes::single_threaded(&args.preload).map(|()| helpers));
    match helpers {
        Ok(helpers) => match parent::serve(control, args.tick_limit, r_version, helpers) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(message) => refuse(control, message),
    }
}

fn refuse(control: impl AsFd, message: String) -> ExitCode {
    // A worker that cannot be told sees the end of the socket.
    let _ = packets::send(control, &FromParent::Refused { message }, &[]);
    ExitCode::FAILURE
}

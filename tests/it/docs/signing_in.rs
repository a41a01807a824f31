//! The examples of local users and of a directory on the page for signing in are run as they stand there; only ports are others.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use warren_tests::Builder;
use warren_tests::postgres::free_port;
use warren_tests::process::program;

const DIRECTORY: &str = "127.0.0.1:3890";
const ADDRESS: &str = "http://localhost:12800";

/// Ends the directory, which the page starts in the background.
struct Started<'a>(&'a Path);

impl Drop for Started<'_> {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(self.0.join("directory/pid")).unwrap_or_default();
        let _ = Command::new("kill").arg(pid.trim()).status();
    }
}

/// What a program of the shell prints.
fn printed(program: &str, dir: &Path) -> String {
    let ended = Command::new("bash")
        .args(["-ec", program])
        .current_dir(dir)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    String::from_utf8(ended.stdout).unwrap()
}

#[tokio::test]
async fn the_example_of_a_directory_is_as_it_says() {
    let page = include_str!("../../../docs/SIGNING-IN.md");
    let example = page.split_once("### An example\n").unwrap().1;
    let example = example.split_once("\n### ").unwrap().0;
    let blocks: Vec<&str> = example.split("```").skip(1).step_by(2).collect();
    let [directory, settings, use_of_it, shown] = blocks[..] else {
        panic!("{} blocks", blocks.len())
    };
    let [directory, settings, use_of_it] =
        [directory, settings, use_of_it].map(|block| block.strip_prefix("sh\n").unwrap());
    let dir = TempDir::with_prefix("warren-signing-in-").unwrap();
    let ours = format!("127.0.0.1:{}", free_port().await);
    let _started = Started(dir.path());
    printed(&directory.replace(DIRECTORY, &ours), dir.path());
    let mut builder = Builder::new().workers(0);
    for setting in settings.lines() {
        let setting = setting.strip_prefix("export ").unwrap();
        let (name, value) = setting.split_once('=').unwrap();
        builder = builder.env(name, &value.replace(DIRECTORY, &ours));
    }
    let house = builder.build().await;
    let address = format!("http://{}", house.apis[0].addr);
    let printed = printed(&use_of_it.replace(ADDRESS, &address), dir.path());
    assert_eq!(printed, shown.strip_prefix("text\n").unwrap());
}

#[tokio::test]
async fn the_example_of_local_users_is_as_it_says() {
    let page = include_str!("../../../docs/SIGNING-IN.md");
    let example = page.split_once("## Local users\n").unwrap().1;
    let example = example.split_once("\n## ").unwrap().0;
    let [_, block, _] = example.split("```").collect::<Vec<_>>()[..] else {
        panic!("not one block")
    };
    let house = Builder::new().workers(0).build().await;
    let programs = program("warren-api");
    let programs = programs.parent().unwrap().display();
    let dir = TempDir::with_prefix("warren-signing-in-").unwrap();
    // What a person types who is asked.
    std::fs::write(dir.path().join("typed"), "correct horse battery\n").unwrap();
    let block = block.strip_prefix("sh\n").unwrap();
    let settings = house.shared_env(house.database.server).into_iter();
    let settings = settings.map(|(name, value)| format!("export {name}='{value}'\n"));
    let settings: String = settings.collect();
    let shell = format!("PATH={programs}:$PATH; exec <typed\n{settings}{block}");
    let listed = printed(&shell, dir.path());
    let rows: Vec<Vec<&str>> = listed
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let roles: Vec<(&str, &str)> = rows.iter().skip(1).map(|row| (row[0], row[1])).collect();
    assert_eq!(
        roles,
        [("admin", "owner"), ("ana", "owner"), ("app", "reader")]
    );
}

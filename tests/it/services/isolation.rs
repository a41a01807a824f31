//! What a call does, no other call sees.

use std::collections::HashSet;

use serde_json::json;
use warren_tests::services::service;
use warren_tests::{House, wait};

#[tokio::test]
async fn nothing_of_a_call_is_left_for_the_next() {
    let house = House::build().await;
    let client = house.admin().await;
    let mut state = service(
        "found <- c(exists('kept'), getOption('digits') == 3, nzchar(Sys.getenv('KEPT')), file.exists('kept'),
            'package:splines' %in% search(), basename(getwd()) != 'work', base != 1, length(dev.list()) > 0,
            nrow(showConnections()) > 0)
         base <<- 2; kept <- 1; options(digits = 3); Sys.setenv(KEPT = 'x'); writeLines('x', 'kept')
         library(splines); pdf(NULL); con <- file('kept', 'r')
         print <- function(...) stop('damaged'); setwd(tempdir())
         n <- runif(1)
         if (how == 'quit') q()
         if (how == 'crash') tools::pskill(Sys.getpid(), 9)",
        &[("how", "character")],
        &[("found", "vector"), ("n", "numeric")],
    );
    state["initCode"] = json!("base <- 1");
    state["exampleInputs"] = json!({"how": "example"});
    client.published("state", &state).await;
    let mut drawn = Vec::new();
    for how in ["", "quit", "", "crash", "", ""] {
        let answer = client
            .call("state", "v1", &json!({ "how": how }))
            .await
            .expect(200);
        if how.is_empty() {
            assert_eq!(
                answer["outputParameters"]["found"],
                json!(vec![false; 9]),
                "{answer}"
            );
            drawn.push(answer["outputParameters"]["n"].to_string());
        } else {
            assert_eq!(answer["success"], false);
        }
    }
    drawn.sort();
    drawn.dedup();
    assert_eq!(drawn.len(), 4, "{drawn:?}");
}

/// A directory serves more than one call, unless something was left in it or done to it.
#[tokio::test]
async fn directories_are_used_again_only_as_good_as_new() {
    let house = House::build().await;
    let client = house.admin().await;
    let code = "place <- dirname(getwd()); found <- c(list.files('.', all.files = TRUE, no.. = TRUE),
                  list.files(tempdir(), all.files = TRUE, no.. = TRUE), format(file.mode('.')), format(file.mode(tempdir())))
                if (how == 'file') writeLines('x', 'kept')
                if (how == 'hidden') writeLines('x', tempfile('.kept'))
                if (how == 'mode') Sys.chmod('.', '500')";
    let outputs = [("place", "character"), ("found", "vector")];
    let places = service(code, &[("how", "character")], &outputs);
    client.published("places", &places).await;
    let call = async |how: &str| {
        let outputs = client.outputs("places", &json!({ "how": how })).await;
        assert_eq!(outputs["found"], json!(["700", "700"]), "{outputs}");
        outputs["place"].clone()
    };
    let mut seen = HashSet::new();
    wait::until("a directory comes a second time", async || {
        (!seen.insert(call("").await.to_string())).then_some(())
    })
    .await;
    for how in ["file", "hidden", "mode"] {
        let left = call(how).await;
        for _ in 0..4 {
            assert_ne!(call("").await, left, "{how}");
        }
    }
}

#[tokio::test]
async fn a_seed_that_the_code_sets_is_the_same_for_every_call() {
    let house = House::build().await;
    let client = house.admin().await;
    client
        .published(
            "seed",
            &service("set.seed(1); n <- runif(1)", &[], &[("n", "numeric")]),
        )
        .await;
    let first = client.outputs("seed", &json!({})).await;
    assert_eq!(client.outputs("seed", &json!({})).await, first);
}

#[tokio::test]
async fn a_service_that_cannot_be_forked_has_a_whole_process_for_each_call() {
    let house = House::build().await;
    let client = house.admin().await;
    let session = client.open_session().await;
    session
        .prints(
            "writeLines(c('#include <pthread.h>', '#include <unistd.h>',
                          'static void *idle(void *unused) { for (;;) pause(); }',
                          'void start(void) { pthread_t it; pthread_create(&it, 0, idle, 0); }'), 'thread.c')
             stopifnot(system('R CMD SHLIB thread.c >thread.log 2>&1') == 0)",
        )
        .await;
    let mut threaded = service(
        "n <- n + 1L; threads <- length(list.files('/proc/self/task'))",
        &[],
        &[("n", "integer"), ("threads", "integer")],
    );
    threaded["snapshotId"] = json!(session.save().await);
    threaded["initCode"] = json!("dyn.load('thread.so'); invisible(.C('start')); n <- 0L");
    threaded["exampleInputs"] = json!({});
    client.published("threaded", &threaded).await;
    for _ in 0..3 {
        // A fork would have one thread.
        assert_eq!(
            client.outputs("threaded", &json!({})).await,
            json!({"n": 1, "threads": 2})
        );
    }
}

#[tokio::test]
async fn calls_cannot_reach_each_other_or_what_they_share() {
    let house = House::build().await;
    let client = house.admin().await;
    let session = client.open_session().await;
    session.put_file("shared.txt", b"original\n").await;
    let mut spy = service(
        "read <- readLines('shared.txt')
         wrote <- suppressWarnings(tryCatch({cat('x', file = 'shared.txt', append = TRUE); TRUE}, error = function(e) FALSE))
         siblings <- dirname(dirname(getwd()))
         seen <- length(suppressWarnings(list.files(siblings, recursive = TRUE)))
         left <- suppressWarnings(tryCatch({cat('x', file = file.path(siblings, 'left')); TRUE}, error = function(e) FALSE))",
        &[],
        &[("read", "character"), ("wrote", "logical"), ("left", "logical")],
    );
    spy["snapshotId"] = json!(session.save().await);
    client.published("spy", &spy).await;
    for _ in 0..2 {
        assert_eq!(
            client.outputs("spy", &json!({})).await,
            json!({"read": "original", "wrote": false, "left": false})
        );
    }
}

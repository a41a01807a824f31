//! Packages that a session installs for itself.

use warren_tests::House;

#[tokio::test]
async fn a_session_installs_a_package_for_itself_and_for_nobody_else() {
    let house = House::build().await;
    let client = house.admin().await;
    let (session, other) = (client.open_session().await, client.open_session().await);
    session
        .prints(
            "dir.create('source/R', recursive = TRUE)
             writeLines(c('Package: greeting', 'Version: 1.2', 'Title: A Greeting', 'License: MIT',
                          'Author: Ada', 'Maintainer: Ada <ada@example.org>', 'Description: Greets.'),
                        'source/DESCRIPTION')
             writeLines('export(hello)', 'source/NAMESPACE')
             writeLines('hello <- function() \"hello from a package\"', 'source/R/hello.R')",
        )
        .await;
    let installed = session
        .execute("install.packages('source', repos = NULL, type = 'source')")
        .await
        .expect(200);
    let printed = installed["consoleOutput"].as_str().unwrap();
    assert!(printed.contains("* DONE (greeting)"), "{installed}");
    assert_eq!(
        session
            .prints("library(greeting); cat(hello(), as.character(packageVersion('greeting')))")
            .await,
        "hello from a package 1.2"
    );
    let own = session
        .prints("cat(startsWith(normalizePath(.libPaths()[1]), normalizePath(getwd())))")
        .await;
    assert_eq!(own, "TRUE");
    assert_eq!(
        other
            .prints("cat(requireNamespace('greeting', quietly = TRUE))")
            .await,
        "FALSE"
    );
}

//! Settings of signing in against a directory.
#![expect(
    clippy::doc_markdown,
    reason = "what describes a setting is also what --help prints, where nobody wants backticks"
)]

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{ArgAction, Args};
use url::Url;
use warren_common::config::Secret;

use super::{BadSetting, seconds};
use crate::auth::ldap::template::{ANYBODY, Template};

/// The directory that names and passwords are checked by, if there is one.
#[derive(Debug, Clone, Args)]
pub struct LdapConfig {
    /// Directory servers, asked in this order: ldaps://host or ldap://host, separated by commas; local users sign in when empty
    #[arg(
        id = "ldap_url",
        long = "ldap-url",
        env = "WARREN_LDAP_URL",
        default_value = ""
    )]
    pub servers: Servers,
    /// Whether connections to ldap:// are encrypted by StartTLS: true or false
    #[arg(
        id = "ldap_starttls",
        long = "ldap-starttls",
        env = "WARREN_LDAP_STARTTLS",
        default_value_t = false,
        action = ArgAction::Set
    )]
    pub starttls: bool,
    /// Whether passwords may cross the network in the clear, by ldap:// without StartTLS: true or false
    #[arg(
        id = "ldap_plaintext",
        long = "ldap-plaintext",
        env = "WARREN_LDAP_PLAINTEXT",
        default_value_t = false,
        action = ArgAction::Set
    )]
    pub plaintext: bool,
    /// PEM file with the only certificate authorities that servers may have their certificates from; those of the system when absent
    #[arg(id = "ldap_ca", long = "ldap-ca", env = "WARREN_LDAP_CA")]
    pub ca: Option<PathBuf>,
    /// DN of the account that searches; anonymous when absent
    #[arg(
        id = "ldap_bind_dn",
        long = "ldap-bind-dn",
        env = "WARREN_LDAP_BIND_DN"
    )]
    pub bind_dn: Option<String>,
    /// Its password
    #[arg(
        id = "ldap_bind_password",
        long = "ldap-bind-password",
        env = "WARREN_LDAP_BIND_PASSWORD",
        hide_env_values = true
    )]
    pub bind_password: Option<Secret>,
    /// DN of the entry below which users are
    #[arg(
        id = "ldap_base",
        long = "ldap-base",
        env = "WARREN_LDAP_BASE",
        default_value = ""
    )]
    pub base: String,
    /// Filter that finds whoever may sign in; {user} stands for the name that was typed
    #[arg(
        id = "ldap_filter",
        long = "ldap-filter",
        env = "WARREN_LDAP_FILTER",
        default_value = "(uid={user})"
    )]
    pub filter: Template,
    /// Attribute whose value is the user's name in Warren and owns things; must have one value, and never change
    #[arg(
        id = "ldap_subject_attribute",
        long = "ldap-subject-attribute",
        env = "WARREN_LDAP_SUBJECT_ATTRIBUTE",
        default_value = "uid"
    )]
    pub subject_attribute: String,
    /// Attribute of users that holds the DNs of their groups
    #[arg(
        id = "ldap_member_of_attribute",
        long = "ldap-member-of-attribute",
        env = "WARREN_LDAP_MEMBER_OF_ATTRIBUTE",
        default_value = "memberOf"
    )]
    pub member_of_attribute: String,
    /// DN of the entry below which groups are searched for as well; not searched for when absent
    #[arg(
        id = "ldap_group_base",
        long = "ldap-group-base",
        env = "WARREN_LDAP_GROUP_BASE"
    )]
    pub group_base: Option<String>,
    /// Filter that finds a user's groups; {dn} stands for the user's DN, {subject} for the user's name in Warren
    #[arg(
        id = "ldap_group_filter",
        long = "ldap-group-filter",
        env = "WARREN_LDAP_GROUP_FILTER",
        default_value = "(|(member={dn})(uniqueMember={dn})(memberUid={subject}))"
    )]
    pub group_filter: Template,
    /// How long connecting to one server may take, and then all questions to it together, in seconds
    #[arg(
        id = "ldap_timeout_seconds",
        long = "ldap-timeout-seconds",
        env = "WARREN_LDAP_TIMEOUT_SECONDS",
        default_value = "5",
        value_parser = seconds
    )]
    pub timeout: Duration,
}

impl LdapConfig {
    /// Whether names and passwords are checked by a directory.
    pub fn is_on(&self) -> bool {
        !self.servers.0.is_empty()
    }

    /// True when what is said to this server cannot be read on the way.
    pub fn encrypts(&self, server: &Url) -> bool {
        server.scheme() == "ldaps" || self.starttls
    }

    /// Refuses what clap cannot judge.
    pub(super) fn validate(&self) -> Result<(), BadSetting> {
        if !self.is_on() {
            return Ok(());
        }
        for server in &self.servers.0 {
            self.validate_server(server)?;
        }
        if self.bind_dn.is_some() != self.bind_password.is_some() {
            return Err(BadSetting::new(
                "WARREN_LDAP_BIND_DN",
                "and WARREN_LDAP_BIND_PASSWORD go together",
            ));
        }
        let is_empty = |text: &Option<String>| text.as_ref().is_some_and(String::is_empty);
        let no_password = self.bind_password.as_ref();
        for (variable, is_wrong) in [
            ("WARREN_LDAP_BASE", self.base.is_empty()),
            ("WARREN_LDAP_BIND_DN", is_empty(&self.bind_dn)),
            // With an empty password most servers sign anybody in, as nobody.
            (
                "WARREN_LDAP_BIND_PASSWORD",
                no_password.is_some_and(|password| password.reveal().is_empty()),
            ),
            ("WARREN_LDAP_GROUP_BASE", is_empty(&self.group_base)),
            (
                "WARREN_LDAP_SUBJECT_ATTRIBUTE",
                self.subject_attribute.is_empty(),
            ),
            (
                "WARREN_LDAP_MEMBER_OF_ATTRIBUTE",
                self.member_of_attribute.is_empty(),
            ),
        ] {
            if is_wrong {
                return Err(BadSetting::new(variable, "must not be empty"));
            }
        }
        if self.timeout.is_zero() {
            return Err(BadSetting::new(
                "WARREN_LDAP_TIMEOUT_SECONDS",
                "must not be 0",
            ));
        }
        self.validate_filters()
    }

    fn validate_server(&self, server: &Url) -> Result<(), BadSetting> {
        let wrong = |problem: String| Err(BadSetting::new("WARREN_LDAP_URL", problem));
        if !self.encrypts(server) && !self.plaintext && !is_loopback(server) {
            return wrong(format!(
                "would send passwords to {server} in the clear: use ldaps://, or WARREN_LDAP_STARTTLS=true; \
                 WARREN_LDAP_PLAINTEXT=true if the network is safe"
            ));
        }
        let is_ipv6 = server.host_str().is_some_and(|host| host.starts_with('['));
        if self.encrypts(server) && is_ipv6 {
            return wrong(format!(
                "must name {server} as its certificate does, by its name or an IPv4 address"
            ));
        }
        Ok(())
    }

    fn validate_filters(&self) -> Result<(), BadSetting> {
        if !self.filter.mentions("{user}") {
            return Err(BadSetting::new(
                "WARREN_LDAP_FILTER",
                "must say where the name goes, by {user}",
            ));
        }
        if !self.group_filter.mentions("{dn}") && !self.group_filter.mentions("{subject}") {
            return Err(BadSetting::new(
                "WARREN_LDAP_GROUP_FILTER",
                "must say whose groups, by {dn} or {subject}",
            ));
        }
        // As it is used when a sign-in is renewed.
        if !self.filter.parses_with(&[("{user}", ANYBODY)]) {
            return Err(BadSetting::new(
                "WARREN_LDAP_FILTER",
                "must also be a filter when * stands for {user}",
            ));
        }
        Ok(())
    }
}

/// Servers of one directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Servers(pub Vec<Url>);

impl FromStr for Servers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let addresses = text.split(',').map(str::trim);
        let addresses = addresses.filter(|address| !address.is_empty());
        addresses.map(server).collect::<Result<_, _>>().map(Self)
    }
}

/// An address is not repeated in what is wrong with it: people write passwords into addresses.
fn server(address: &str) -> Result<Url, String> {
    let url = Url::parse(address).map_err(|error| format!("this is no address: {error}"))?;
    if !["ldap", "ldaps"].contains(&url.scheme()) {
        return Err("an address begins with ldap:// or ldaps://".to_owned());
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("an address names its server: ldaps://host".to_owned());
    }
    let is_bare = url.username().is_empty()
        && url.password().is_none()
        && ["", "/"].contains(&url.path())
        && url.query().is_none()
        && url.fragment().is_none();
    if is_bare {
        Ok(url)
    } else {
        Err(
            "an address is ldaps://host or ldaps://host:port; the rest has settings of its own"
                .to_owned(),
        )
    }
}

fn is_loopback(server: &Url) -> bool {
    let host = server.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, FromArgMatches};

    fn parsed(extra: &[&str]) -> Result<LdapConfig, clap::Error> {
        let mut arguments = vec!["warren-api"];
        arguments.extend(extra);
        let matches =
            LdapConfig::augment_args(Command::new("warren-api")).try_get_matches_from(arguments)?;
        LdapConfig::from_arg_matches(&matches)
    }

    fn problem(extra: &[&str]) -> String {
        let mut arguments = vec!["--ldap-url=ldaps://h", "--ldap-base=dc=x"];
        arguments.extend(extra);
        let judged = parsed(&arguments).unwrap().validate();
        judged.map_or_else(|wrong| wrong.to_string(), |()| String::new())
    }

    #[test]
    fn nothing_is_asked_of_whoever_has_no_directory() {
        let config = parsed(&["--ldap-url="]).unwrap();
        assert!(!config.is_on());
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn several_servers_keep_their_order() {
        let config = parsed(&["--ldap-url=ldaps://b.example, ldap://a.example:1389"]).unwrap();
        let hosts: Vec<_> = config.servers.0.iter().map(Url::host_str).collect();
        assert_eq!(hosts, [Some("b.example"), Some("a.example")]);
    }

    #[test]
    fn addresses_that_say_more_than_where_are_refused_unrepeated() {
        for address in [
            "http://h",
            "ldap:h",
            "ldap://",
            "ldaps://cn=x:hunter2@h",
            "ldaps://h/dc=hunter2",
            "ldaps://h??hunter2",
        ] {
            let Err(refused) = server(address) else {
                panic!("{address} is taken");
            };
            assert!(!refused.contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn passwords_cross_no_network_in_the_clear_unasked() {
        for (extra, is_refused) in [
            (vec!["--ldap-url=ldap://h"], true),
            (vec!["--ldap-url=ldaps://a,ldap://h"], true),
            (vec!["--ldap-url=ldap://127.0.0.1:1389"], false),
            (vec!["--ldap-url=ldap://[::1]"], false),
            (vec!["--ldap-url=ldap://localhost"], false),
            (vec!["--ldap-url=ldap://127.0.0.1.example"], true),
            (vec!["--ldap-url=ldap://h", "--ldap-starttls=true"], false),
            (vec!["--ldap-url=ldap://h", "--ldap-plaintext=true"], false),
        ] {
            let mut arguments = vec!["--ldap-base=dc=x"];
            arguments.extend(&extra);
            let judged = parsed(&arguments).unwrap().validate();
            assert_eq!(judged.is_err(), is_refused, "{extra:?}: {judged:?}");
        }
    }

    #[test]
    fn a_wrong_value_names_its_variable() {
        assert_eq!(problem(&[]), "");
        for (extra, variable) in [
            ("--ldap-base=", "WARREN_LDAP_BASE"),
            ("--ldap-bind-dn=cn=x", "WARREN_LDAP_BIND_DN"),
            ("--ldap-bind-password=x", "WARREN_LDAP_BIND_DN"),
            ("--ldap-filter=(uid=ana)", "WARREN_LDAP_FILTER"),
            (
                "--ldap-filter=(uid:caseExactMatch:={user})",
                "WARREN_LDAP_FILTER",
            ),
            ("--ldap-group-filter=(cn=x)", "WARREN_LDAP_GROUP_FILTER"),
            ("--ldap-timeout-seconds=0", "WARREN_LDAP_TIMEOUT_SECONDS"),
            ("--ldap-url=ldaps://[2001:db8::1]", "WARREN_LDAP_URL"),
        ] {
            let mut arguments = vec!["--ldap-url=ldaps://h", "--ldap-base=dc=x"];
            arguments.retain(|given| given.split('=').next() != extra.split('=').next());
            arguments.push(extra);
            let judged = parsed(&arguments).unwrap().validate();
            let problem = judged.unwrap_err().to_string();
            assert!(problem.starts_with(variable), "{extra}: {problem}");
        }
        let both = ["--ldap-bind-dn=cn=x", "--ldap-bind-password="];
        assert!(problem(&both).starts_with("WARREN_LDAP_BIND_PASSWORD"));
        assert!(parsed(&["--ldap-filter=uid={user}"]).is_err());
        assert!(parsed(&["--ldap-filter=(uid={user}"]).is_err());
    }
}

//! `GET /services`, `GET /services/{name}` and `GET /services/{name}/{version}`

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use warren_common::id::SnapshotId;
use warren_common::model::Parameter;
use warren_common::store::services::{self, Service};

use super::place::Place;
use crate::app::Shared;
use crate::auth::Caller;
use crate::auth::policy::{Action, Whose, permits};
use crate::error::ApiError;

/// A version of a service: the members of every version of the original together.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WebService {
    name: String,
    version: String,
    creation_time: String,
    description: Option<String>,
    operation_id: Option<String>,
    snapshot_id: Option<SnapshotId>,
    code: Option<String>,
    init_code: Option<String>,
    owner: String,
    version_published_by: String,
    runtime_type: &'static str,
    input_parameter_definitions: Vec<Parameter>,
    output_parameter_definitions: Vec<Parameter>,
    output_file_names: Vec<String>,
    my_permission_on_service: &'static str,
}

impl WebService {
    /// As a caller sees it: code is not for everybody.
    fn seen_by(caller: &Caller, service: Service) -> Self {
        let whose = Whose::of(service.owner, caller.id);
        let with_code = permits(caller.role, Action::ReadCode, whose);
        let may_change = permits(caller.role, Action::Publish, whose);
        let Service {
            name,
            version,
            owner_name,
            publisher_name,
            created_at,
            definition,
            ..
        } = service;
        Self {
            name,
            version,
            creation_time: creation_time(created_at),
            description: definition.description,
            operation_id: definition.operation_id,
            snapshot_id: definition.snapshot,
            code: with_code.then_some(definition.code),
            init_code: definition.init_code.filter(|_code| with_code),
            owner: owner_name,
            version_published_by: publisher_name,
            runtime_type: "R",
            input_parameter_definitions: definition.inputs,
            output_parameter_definitions: definition.outputs,
            output_file_names: definition.output_files,
            my_permission_on_service: if may_change {
                "read/write"
            } else {
                "read only"
            },
        }
    }
}

/// Seven digits of a second and no zone, as the original wrote it.
fn creation_time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%S%.6f0").to_string()
}

/// All versions of all services, oldest first.
pub async fn all(
    State(app): State<Shared>,
    caller: Caller,
) -> Result<Json<Vec<WebService>>, ApiError> {
    let found = services::list(&app.db, None, None).await?;
    Ok(seen(&caller, found))
}

/// All versions of a service, oldest first; none of one that is not there.
pub async fn of_name(
    State(app): State<Shared>,
    caller: Caller,
    place: Place,
) -> Result<Json<Vec<WebService>>, ApiError> {
    let found = services::list(&app.db, Some(&place.name), None).await?;
    Ok(seen(&caller, found))
}

/// One version, as a list of one.
pub async fn one(
    State(app): State<Shared>,
    caller: Caller,
    place: Place,
) -> Result<Json<Vec<WebService>>, ApiError> {
    let found = services::list(&app.db, Some(&place.name), Some(place.version()?)).await?;
    if found.is_empty() {
        return Err(place.unknown());
    }
    Ok(seen(&caller, found))
}

fn seen(caller: &Caller, found: Vec<Service>) -> Json<Vec<WebService>> {
    let seen = found
        .into_iter()
        .map(|service| WebService::seen_by(caller, service));
    Json(seen.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use warren_common::id::PrincipalId;
    use warren_common::model::{Definition, Role};

    #[test]
    fn code_is_for_its_owner_and_for_owners_of_all() {
        let owner = PrincipalId::new();
        let seen_by = |id, role| {
            let caller = Caller {
                id,
                name: "ana".to_owned(),
                role,
            };
            let service = Service {
                name: "add".to_owned(),
                version: "v1".to_owned(),
                owner,
                owner_name: "ana".to_owned(),
                publisher_name: "bob".to_owned(),
                created_at: DateTime::from_timestamp_micros(1_487_015_066_261_142).unwrap(),
                definition: Definition {
                    code: "z <- x".to_owned(),
                    init_code: Some("1".to_owned()),
                    ..Definition::default()
                },
            };
            serde_json::to_value(WebService::seen_by(&caller, service)).unwrap()
        };
        let mine = seen_by(owner, Role::Contributor);
        assert_eq!(mine["code"], "z <- x");
        assert_eq!(mine["myPermissionOnService"], "read/write");
        assert_eq!(mine["creationTime"], "2017-02-13T19:44:26.2611420");
        assert_eq!(mine["owner"], "ana");
        assert_eq!(mine["versionPublishedBy"], "bob");
        let fallen = seen_by(owner, Role::Reader);
        assert_eq!(fallen["code"], "z <- x");
        assert_eq!(fallen["myPermissionOnService"], "read only");
        let owner_of_all = seen_by(PrincipalId::new(), Role::Owner);
        assert_eq!(owner_of_all["code"], "z <- x");
        assert_eq!(owner_of_all["myPermissionOnService"], "read/write");
        let other = seen_by(PrincipalId::new(), Role::Contributor);
        assert!(other["code"].is_null() && other["initCode"].is_null());
        assert_eq!(other["myPermissionOnService"], "read only");
        assert_eq!(other["inputParameterDefinitions"], serde_json::json!([]));
    }
}

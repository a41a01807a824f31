//! How far somebody has read a job: its text and its states, as one value that travels as the id of an event.

use std::fmt;
use std::str::FromStr;

use warren_common::model::JobState;
use warren_common::store::console::Head;

/// How far a job has come, as a number that no move makes smaller. A claim that Postgres forgot in a crash is no move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stage(i32);

impl Stage {
    /// Before every other.
    pub const NONE: Self = Self(0);
    /// The job is final: behind every other.
    pub const END: Self = Self(i32::MAX);

    /// The stage of a job in this state that was claimed this often. A job that is given back waits for the next attempt.
    pub const fn of(state: JobState, attempt: i32) -> Self {
        match state {
            JobState::Waiting => Self(1),
            JobState::Queued => Self(attempt.saturating_mul(2).saturating_add(2)),
            JobState::Running => Self(attempt.saturating_mul(2).saturating_add(1)),
            _ => Self::END,
        }
    }
}

/// What somebody has seen of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The cursor behind the text that was read.
    pub cursor: i32,
    /// The last stage that was told.
    pub stage: Stage,
}

impl Mark {
    /// Nothing yet.
    pub const START: Self = Self {
        cursor: 0,
        stage: Stage::NONE,
    };

    /// Somebody who asks for text alone, from a cursor on: no stage but the last is news.
    pub const fn of_text(cursor: i32) -> Self {
        Self {
            cursor,
            stage: Stage(Stage::END.0 - 1),
        }
    }

    /// True when a job that has come this far has something new to tell.
    pub fn is_behind(self, head: &Head) -> bool {
        head.chunks > self.cursor || Stage::of(head.state, head.attempt) > self.stage
    }
}

/// `12-3`: twelve chunks and the third stage; `14-end` when there is nothing more to come.
impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.stage == Stage::END {
            write!(f, "{}-end", self.cursor)
        } else {
            write!(f, "{}-{}", self.cursor, self.stage.0)
        }
    }
}

/// A text that is the id of no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoMark;

impl FromStr for Mark {
    type Err = NoMark;

    fn from_str(text: &str) -> Result<Self, NoMark> {
        let (cursor, stage) = text.split_once('-').ok_or(NoMark)?;
        let stage = match stage {
            "end" => Stage::END,
            number => Stage(count(number)?),
        };
        Ok(Self {
            cursor: count(cursor)?,
            stage,
        })
    }
}

/// Digits alone, as they are written here.
fn count(text: &str) -> Result<i32, NoMark> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain).ok_or(NoMark)
}

#[cfg(test)]
mod tests {
    use super::*;
    use warren_common::id::JobId;

    fn head(state: JobState, attempt: i32, chunks: i32) -> Head {
        Head {
            job: JobId::new(),
            state,
            attempt,
            chunks,
        }
    }

    #[test]
    fn every_move_of_a_job_leads_to_a_later_stage() {
        let life = [
            (JobState::Waiting, 0),
            (JobState::Queued, 0),
            (JobState::Running, 1),
            (JobState::Queued, 1),
            (JobState::Running, 2),
        ];
        let stages: Vec<Stage> = life
            .iter()
            .map(|(state, attempt)| Stage::of(*state, *attempt))
            .collect();
        assert!(stages.is_sorted_by(|one, next| one < next), "{stages:?}");
        for state in JobState::ALL.iter().filter(|state| state.is_final()) {
            assert_eq!(Stage::of(*state, 2), Stage::END);
        }
        assert!(Stage::NONE < Stage::of(JobState::Waiting, 0));
    }

    #[test]
    fn a_mark_reads_back_as_it_was_written() {
        for stage in [Stage::NONE, Stage::of(JobState::Running, 2), Stage::END] {
            let mark = Mark { cursor: 12, stage };
            assert_eq!(mark.to_string().parse(), Ok(mark));
        }
        for text in [
            "",
            "7",
            "-",
            "-1-2",
            "1-",
            "+1-2",
            "1-2-3",
            "99999999999-1",
            "1-End",
        ] {
            assert_eq!(text.parse::<Mark>(), Err(NoMark), "{text:?}");
        }
    }

    #[test]
    fn news_is_text_behind_the_cursor_or_a_later_stage() {
        let running = head(JobState::Running, 1, 3);
        assert!(Mark::START.is_behind(&running));
        let told = Mark {
            cursor: 3,
            stage: Stage::of(JobState::Running, 1),
        };
        assert!(!told.is_behind(&running));
        assert!(told.is_behind(&head(JobState::Running, 1, 4)));
        assert!(told.is_behind(&head(JobState::Lost, 1, 3)));
        // Postgres has forgotten the claim in a crash.
        assert!(!told.is_behind(&head(JobState::Queued, 0, 3)));
        assert!(!Mark::of_text(3).is_behind(&running));
        assert!(Mark::of_text(2).is_behind(&running));
        assert!(Mark::of_text(3).is_behind(&head(JobState::Failed, 1, 3)));
    }
}

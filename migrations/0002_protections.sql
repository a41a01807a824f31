-- What operators see of a worker's sandbox in /status.

ALTER TABLE workers ADD COLUMN weaknesses text NOT NULL DEFAULT '[]';

COMMENT ON COLUMN workers.weaknesses IS 'Protections that do not hold in full on its machine: a JSON array of name, state, how and needs.';

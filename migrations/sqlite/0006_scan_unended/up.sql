-- Whether a turn of a scan job is under way (written with its claim, before it begins), and how many turns broke off: the process did
-- not outlive them.
ALTER TABLE scan_job ADD COLUMN begun INTEGER NOT NULL DEFAULT 0;
ALTER TABLE scan_job ADD COLUMN unended INTEGER NOT NULL DEFAULT 0;

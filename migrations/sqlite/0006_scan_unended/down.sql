ALTER TABLE scan_job DROP COLUMN unended;
ALTER TABLE scan_job DROP COLUMN begun;

DROP INDEX res_quarantined;
DROP TABLE evidence;
DROP TABLE hold;
DROP TABLE approval;
DROP TABLE operator;

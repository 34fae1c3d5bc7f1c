"""What results say: replicates, intervals, ranking, importance. No matplotlib in here."""

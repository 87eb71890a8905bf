"""Sources of words about a clip: captioners, tags, objects, actions, speech, text, subtitles."""
